"""Unary calls beside Valkey without pipelining and beside a call that touches no state; the client's cost beside h2load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.measure.rounds import by_count
from lib.systems.h2load import h2load_count, h2load_flags, h2load_program
from lib.systems.load import READERS, WORKERS, operations, preload
from lib.systems.soloist import soloist, soloist_read
from lib.systems.valkey import valkey, valkey_reads

# As many calls at once on one connection as the other clients make.
H2LOAD = f"-c 1 -m {WORKERS} -t 1"


def h2load_calls(bench: Bench, server: Server, address: str, name: str, method: str, request: bytes) -> Run:
    """h2load repeats one call. It looks at HTTP's status alone, not at gRPC's."""

    def run(count: int) -> Figures:
        words = h2load_flags(bench, address, method, request, f"{H2LOAD} -n {count}")

        def drive() -> Figures:
            output = bench.client(name, h2load_program(), *words)
            done = h2load_count(output)
            rate = re.search(r"^finished in .*, ([\d.]+) req/s", output, re.MULTILINE)
            if rate is None or done != count:
                raise Failed(f"h2load was to make {count} calls:\n{output.strip()[-2000:]}")
            return {"operations": done, "ops/s": float(rate[1])}

        return watched(server, drive)

    return by_count(run)


@contextmanager
def unary(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (ours, address), valkey(bench) as (peer, port):
        preload(bench, address)
        yield {
            "raw": operations(bench, ours, address, "raw", f"--engine raw {READERS} {WORKERS}"),
            "Valkey": valkey_reads(bench, peer, port, "Valkey", f"-c {WORKERS} -P 1"),
            "generated": operations(bench, ours, address, "generated", f"--engine unary {READERS} {WORKERS}"),
            "Read": h2load_calls(bench, ours, address, "Read", "soloist.v1.State/Read", soloist_read("0")),
            # Of the server as a whole: it has no name.
            "Check": h2load_calls(bench, ours, address, "Check", "grpc.health.v1.Health/Check", b""),
        }


def per_cpu_second(run: Run) -> Run:
    def with_rate(seconds: float) -> Figures:
        figures = run(seconds)
        return {**figures, "client ops/CPU-s": 1e6 / figures["client us/op"]}

    return with_rate


@contextmanager
def clients(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (server, address):
        preload(bench, address)
        h2load = h2load_calls(bench, server, address, "h2load", "soloist.v1.State/Read", soloist_read("0"))
        yield {
            "raw": per_cpu_second(operations(bench, server, address, "raw", f"--engine raw {READERS} {WORKERS}")),
            "h2load": per_cpu_second(h2load),
        }


UNARY = Section(
    "unary",
    "Read by calls, 110 at once on one connection: the server's CPU time",
    unary,
    [
        Row(
            "calls : Valkey",
            "by the raw engine; GET by 110 clients",
            ("raw", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            0.65,
        ),
        Row(
            "calls, generated client",
            "by tonic's client, which is slower than the server, so that it has little to do at a time",
            ("generated", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            None,
        ),
        Row(
            "calls : no state",
            "by h2load; health's Check, which the same server answers without its owner, by h2load",
            ("Read", "server us/op"),
            ("Check", "server us/op"),
            "≤",
            1.05,
        ),
    ],
)


CLIENTS = Section(
    "client-raw",
    "Read by calls, 110 at once on one connection: the client's CPU time",
    clients,
    [
        Row("raw engine", "calls for each second of its CPU time", ("raw", "client ops/CPU-s"), None, "≥", 1e6),
        Row(
            "raw : h2load",
            "the same; h2load -c 1 -m 110",
            ("raw", "client ops/CPU-s"),
            ("h2load", "client ops/CPU-s"),
            "≥",
            4.0,
        ),
    ],
)
