"""The contract, compiled from its folder, and how the tests connect."""
import sys
from importlib.resources import files

import grpc

ADDRESS, PROTO = sys.argv[1:]
sys.path[:0] = [PROTO, str(files("grpc_tools") / "_proto")]
pb, services = grpc.protos_and_services("soloist/v1/state.proto")

# A ping every 50 ms, also while nothing is sent. A server that does not answer one loses its connection.
OPTIONS = [
    ("grpc.keepalive_time_ms", 50),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
]
LARGE = "x" * 1_000_000


def write(key, **value):
    return pb.WriteRequest(key=key, value=pb.Value(**value))


def frame(*ops):
    return pb.PipelineRequest(ops=ops)


def step(text):
    """Says how far it is."""
    print(text, flush=True)
