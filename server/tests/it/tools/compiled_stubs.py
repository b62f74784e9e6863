"""Compiles the contract with protoc, from one folder alone, and makes a call with the stubs."""
import sys
from importlib.resources import files
from pathlib import Path

import grpc
from grpc_tools import protoc

address, protos, out = sys.argv[1:]
sources = sorted(str(path) for path in Path(protos).rglob("*.proto"))
# protoc's own files, google/protobuf/*.proto, are a folder in this package.
own = str(files("grpc_tools") / "_proto")
arguments = [f"-I{protos}", f"-I{own}", f"--python_out={out}", f"--grpc_python_out={out}"]
assert protoc.main(["protoc", *arguments, *sources]) == 0
print("compiled:", len(sources))

sys.path.insert(0, out)
from google.rpc import error_details_pb2, status_pb2
from soloist.v1 import admin_pb2_grpc, errors_pb2, machines_pb2_grpc, sessions_pb2_grpc
from soloist.v1 import state_pb2 as pb
from soloist.v1 import state_pb2_grpc

state = state_pb2_grpc.StateStub(grpc.insecure_channel(address))
answer = state.Write(pb.WriteRequest(key="1", value=pb.Value(int=42)), timeout=10)
print("written:", answer.revision)
try:
    state.Write(
        pb.WriteRequest(key="1", value=pb.Value(int=0), expect=pb.Condition(revision=9)), timeout=10
    )
except grpc.RpcError as error:
    (details,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    [detail.Unpack(info) for detail in status_pb2.Status.FromString(details).details[:1]]
    print("refused:", info.reason)
