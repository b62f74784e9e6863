"""etcd with three members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lib.host.processes import Bench, Server, free_port
from lib.systems.etcd import accepts_connections, etcd_program
from lib.systems.grpc_calls import call
from lib.systems.protobuf import decode

MEMBERS = 3
# Fields of etcdserverpb.StatusResponse and of its header.
STATUS_HEADER, STATUS_LEADER, HEADER_MEMBER = 1, 4, 2


@contextmanager
def etcd_cluster(bench: Bench) -> Iterator[list[tuple[Server, str]]]:
    """Three running members with their addresses; the leader is the first of them. Each syncs before it answers."""
    names = [f"e{number}" for number in range(1, MEMBERS + 1)]
    clients, peers = ([f"127.0.0.1:{free_port()}" for _ in names] for _ in range(2))
    everybody = ",".join(f"{name}=http://{peer}" for name, peer in zip(names, peers, strict=True))
    with ExitStack() as stack:
        members = []
        for name, client, peer in zip(names, clients, peers, strict=True):
            words = f"""--name {name} --data-dir {name}.data --log-level error --initial-cluster {everybody}
                --listen-client-urls http://{client} --advertise-client-urls http://{client}
                --listen-peer-urls http://{peer} --initial-advertise-peer-urls http://{peer}""".split()
            own = bench.in_folder(name)
            server = stack.enter_context(own.server("etcd", etcd_program(), *words))
            members.append((server, client))
        for server, client in members:
            server.when_ready(lambda client=client: client if accepts_connections(client) else None)
        yield sorted(members, key=lambda member: not is_leader(*member))


def is_leader(server: Server, address: str) -> bool:
    def ask() -> str | None:
        status = call(address, "/etcdserverpb.Maintenance/Status")
        leader, header = status.get(STATUS_LEADER), decode(status[STATUS_HEADER])
        return f"{leader} {header[HEADER_MEMBER]}" if leader else None

    leader, member = server.when_ready(ask).split()
    return leader == member
