"""etcd with one member: Debian's, which `./test --tools` installs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host.errors import ProgramMissing
from lib.host.paths import ROOT, TEST_TOOLS
from lib.host.processes import Bench, Server, free_port
from lib.systems.grpc_calls import call
from lib.systems.protobuf import decode, length_delimited
from lib.systems.soloist import VALUE_BYTES

# The key of `put_request`.
WRITTEN_KEY = "written"
# The part of its API that is called here.
ETCD_PROTO = ROOT / "client" / "load" / "tests" / "it" / "servers" / "etcd.proto"
# Fields of etcdserverpb.RangeResponse and ResponseHeader.
RANGE_HEADER, HEADER_REVISION = 1, 3


def etcd_program() -> Path:
    program = TEST_TOOLS / "etcd" / "usr" / "bin" / "etcd"
    if not program.exists():
        raise ProgramMissing(f"{program} is missing: ./test --tools installs it")
    return program


@contextmanager
def etcd_server(bench: Bench) -> Iterator[tuple[Server, str]]:
    """A running cluster of one member and its address. etcd always syncs before it answers."""
    address, peer_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    words = f"""--data-dir etcd.data --log-level error --initial-cluster default=http://{peer_address}
        --listen-client-urls http://{address} --advertise-client-urls http://{address}
        --listen-peer-urls http://{peer_address} --initial-advertise-peer-urls http://{peer_address}""".split()
    with bench.server("etcd", etcd_program(), *words) as server:
        server.when_ready(lambda: address if accepts_connections(address) else None)
        # Waits until the member has elected itself.
        call(address, "/etcdserverpb.KV/Put", put_request())
        yield server, address


def accepts_connections(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def put_request() -> bytes:
    """An etcdserverpb.PutRequest with a value of VALUE_BYTES."""
    return length_delimited(1, WRITTEN_KEY.encode()) + length_delimited(2, b"x" * VALUE_BYTES)


def etcd_revision(address: str) -> int:
    answer = call(address, "/etcdserverpb.KV/Range", length_delimited(1, WRITTEN_KEY.encode()))
    return int(decode(answer[RANGE_HEADER])[HEADER_REVISION])
