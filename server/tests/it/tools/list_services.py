"""Lists the services that a reflection service reports. v1 and v1alpha have the same messages."""
import sys

import grpc
from grpc_reflection.v1alpha import reflection_pb2 as pb


def list_services(address, service):
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        answers = call(iter([pb.ServerReflectionRequest(list_services="")]), timeout=10)
        return [s.name for s in next(answers).list_services_response.service]
