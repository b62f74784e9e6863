"""Calls that succeed, a call that is refused, and a stream, with messages known only by reflection."""
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.any_pb2 import Any
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

channel = grpc.insecure_channel(sys.argv[1])
pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
state = pool.FindServiceByName("soloist.v1.State")


def message(name):
    return GetMessageClass(pool.FindMessageTypeByName(name))


def stub(name):
    method = state.FindMethodByName(name)
    kind = channel.stream_stream if method.client_streaming else channel.unary_unary
    return kind(
        f"/soloist.v1.State/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


Read = message("soloist.v1.ReadRequest")
Write = message("soloist.v1.WriteRequest")
Value = message("soloist.v1.Value")
Condition = message("soloist.v1.Condition")
Frame = message("soloist.v1.PipelineRequest")
Op = message("soloist.v1.Op")

answer = stub("Read")(Read(key="1"), timeout=10)
print("missing:", answer.HasField("entry"))
answer = stub("Write")(Write(key="1", value=Value(int=42)), timeout=10)
print("written:", answer.revision)
answer = stub("Read")(Read(key="1"), timeout=10)
print("read:", answer.entry.value.int)

try:
    stub("Write")(
        Write(key="1", value=Value(int=0), expect=Condition(revision=9)), timeout=10
    )
except grpc.RpcError as error:
    (details,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    status = message("google.rpc.Status").FromString(details)
    info = message("google.rpc.ErrorInfo")()
    [Any.FromString(d.SerializeToString()).Unpack(info) for d in status.details[:1]]
    print("refused:", error.code().name, info.reason, info.metadata["actual"])

frames = [
    Frame(ops=[Op(write=Write(key="2", value=Value(text="x")))]),
    Frame(ops=[Op(read=Read(key="1"))]),
]
answers = list(stub("Pipeline")(iter(frames), timeout=10))
first = answers[1].results[0].read.entry
print("frames:", [len(answers[0].results), first.value.int])
print("done")
