"""The service zoo.v1.Keeper with Python's grpcio: zoo.py DESCRIPTOR_SET [reflection]. Prints its address."""

import json
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SERVICE = "zoo.v1.Keeper"

file_set = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read())
pool = descriptor_pool.DescriptorPool()
for file in file_set.file:
    pool.Add(file)
service = pool.FindServiceByName(SERVICE)
message = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
Seen = message("zoo.v1.Seen")


def seen(animal, count, context):
    text = json.dumps(json_format.MessageToDict(animal, descriptor_pool=pool), sort_keys=True, separators=(",", ":"))
    tenant = dict(context.invocation_metadata()).get("x-tenant", "")
    return Seen(text=text, animal=animal, count=count, tenant=tenant)


def refuse(wanted, context):
    context.abort(next(code for code in grpc.StatusCode if code.value[0] == wanted.code), "as you wanted")


def watch(wanted, context):
    for number in range(wanted.count):
        yield Seen(count=number + 1)


def collect(animals, context):
    animals = list(animals)
    return seen(animals[-1], len(animals), context)


def chat(animals, context):
    for number, animal in enumerate(animals):
        yield seen(animal, number + 1, context)


handlers = {
    "Feed": (grpc.unary_unary_rpc_method_handler, lambda animal, context: seen(animal, 1, context)),
    "Refuse": (grpc.unary_unary_rpc_method_handler, refuse),
    "Watch": (grpc.unary_stream_rpc_method_handler, watch),
    "Collect": (grpc.stream_unary_rpc_method_handler, collect),
    "Chat": (grpc.stream_stream_rpc_method_handler, chat),
}


def handler(name):
    kind, function = handlers[name]
    input_class = message(service.methods_by_name[name].input_type.full_name)
    return kind(
        function, request_deserializer=input_class.FromString, response_serializer=lambda answer: answer.SerializeToString()
    )


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
methods = {name: handler(name) for name in handlers}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
if "reflection" in sys.argv:
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
# The test closes standard input when it is done.
sys.stdin.read()
server.stop(None)
