"""A cluster on a three-member etcd: its writes beside etcd's own, its reads, and one caller alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from lib.host.processes import Bench, Server, free_port
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.etcd import ETCD_PROTO
from lib.systems.etcd_cluster import etcd_cluster
from lib.systems.grpc_calls import call
from lib.systems.load import latencies, load, method_flags, time_flags
from lib.systems.soloist import VALUE_BYTES, soloist_info

CALLERS = 256
KEYS = 10_000
# Fields and values of soloist.v1.Node.
NODE_ROLE, ROLE_OWNER = 3, 1
CONNECTIONS = "--connections 4 -t 1 --seed 1"
MIXED = CALLERS // 2


@contextmanager
def nodes(bench: Bench, name: str, count: int, endpoints: list[str]) -> Iterator[tuple[Server, str]]:
    """Nodes of a new cluster. Yields the owner with its address."""
    etcd = ",".join(f"http://{endpoint}" for endpoint in endpoints)
    with ExitStack() as stack:
        owner: tuple[Server, str] | None = None
        for number in range(count):
            address = f"127.0.0.1:{free_port()}"
            words = f"""--etcd {etcd} --cluster {name} --node n{number} --listen {address} --advertise {address}
                --max-store-bytes 256MiB --log-format json""".split()
            own = bench.in_folder(f"{name}-{number}")
            server = stack.enter_context(own.server("Soloist", bench.binaries["soloist-server"], *words))
            ready = server.when_ready(lambda address=address, alone=number == 0: address if answers(address, alone) else None)
            owner = owner or (server, ready)
        assert owner is not None
        yield owner


def answers(address: str, must_own: bool) -> bool:
    shown = call(address, "/soloist.v1.Admin/GetNode")
    if not must_own:
        return bool(shown)
    return shown.get(NODE_ROLE) == ROLE_OWNER and bool(soloist_info(address))


@contextmanager
def start_cluster(bench: Bench) -> Iterator[dict[str, Run]]:
    own = replace(bench.in_folder("cluster"), pinned=False)
    with (
        etcd_cluster(own.in_folder("of-soloist")) as members,
        etcd_cluster(own.in_folder("of-puts")) as others,
        nodes(own, "one", 1, [address for _, address in members]) as one,
        nodes(own, "three", 3, [address for _, address in members]) as three,
    ):
        writes = f"--engine raw --readers 0 --writers {CALLERS}"
        reads = f"--engine raw --readers {CALLERS} --writers 0"
        mixed = f"--engine raw --readers {MIXED} --writers {MIXED}"
        # Reads find their keys.
        calls(own, one, "fill", "--readers 0 --writers 64 --key-dist sequential", "write")(2.0)
        yield {
            "writes": calls(own, one, "writes", writes, "write"),
            "writes of three": calls(own, three, "writes of three", writes, "write"),
            "Puts": puts(own, others[0], "Puts", CALLERS),
            "reads": calls(own, one, "reads", reads, "read"),
            "mixed": calls(own, one, "mixed", mixed, "read"),
            "one write": calls(own, one, "one write", "--engine unary --readers 0 --writers 1", "write"),
            "one Put": puts(own, others[0], "one Put", 1),
            "one read": calls(own, one, "one read", "--engine unary --readers 1 --writers 0", "read"),
        }


def calls(bench: Bench, node: tuple[Server, str], name: str, flags: str, kind: str) -> Run:
    server, address = node
    words = f"{flags} --keys {KEYS} --value-size {VALUE_BYTES} {CONNECTIONS}".split()

    def run(seconds: float) -> Figures:
        def measure() -> Figures:
            report = load(bench, name, address, *words, *time_flags(seconds), pinned=False)
            figures = latencies(report, kind)
            return {**figures, "p99 ms": figures["p99 us"] / 1e3, "p50 ms": figures["p50 us"] / 1e3}

        return with_cpu_times(server, measure)

    return run


def puts(bench: Bench, member: tuple[Server, str], name: str, in_flight: int) -> Run:
    """Puts at the leader."""
    server, address = member
    # A key of 3 bytes: 4 digits are base64.
    put = json.dumps({"key": "{{int 1000 9999}}", "value": f"{{{{bytes {VALUE_BYTES}}}}}"})
    words = [*method_flags("etcdserverpb.KV/Put", "--proto", str(ETCD_PROTO), "-d", put), *CONNECTIONS.split()]
    words[words.index("-c") + 1] = str(in_flight)

    def run(seconds: float) -> Figures:
        def measure() -> Figures:
            figures = latencies(load(bench, name, address, *words, *time_flags(seconds), pinned=False), "call")
            return {**figures, "p99 ms": figures["p99 us"] / 1e3, "p50 ms": figures["p50 us"] / 1e3}

        return with_cpu_times(server, measure)

    return run


CLUSTER = Section(
    "cluster",
    f"a three-member etcd on the same disk and cores, values of {VALUE_BYTES} bytes, not pinned",
    start_cluster,
    [
        Row(
            "writes : Puts",
            f"durable Writes by {CALLERS} callers at a node alone; Puts at the leader of another such etcd, {CALLERS} in flight",
            ("writes", "ops/s"),
            ("Puts", "ops/s"),
            "≥",
            5.0,
        ),
        Row("writes, p99", "the same Writes: at most 15 ms are wanted", ("writes", "p99 ms"), ("Puts", "p99 ms"), "≤", None),
        Row(
            "writes of three : Puts",
            "the same with two standbys, which follow on the same cores",
            ("writes of three", "ops/s"),
            ("Puts", "ops/s"),
            "≥",
            None,
        ),
        Row("reads", f"Reads by {CALLERS} callers, each confirmed by etcd; the Writes", ("reads", "ops/s"), ("writes", "ops/s"), "≥", None),
        Row("mixed", f"{MIXED} readers and {MIXED} writers; the Reads alone", ("mixed", "ops/s"), ("reads", "ops/s"), "≥", None),
        Row("one write", "one caller: Writes; Puts", ("one write", "p50 us"), ("one Put", "p50 us"), "≤", None),
        Row("one read", "one caller: Reads; Writes", ("one read", "p50 us"), ("one write", "p50 us"), "≤", None),
    ],
)
