"""Unary calls beside Valkey without pipelining, and the client's own cost beside h2load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lib.measuring import Figures, Row, Run, Section, by_count, watched
from lib.peers import drive_valkey, h2load_count, h2load_flags, h2load_program, valkey
from lib.running import Bench, Failed, Server
from lib.soloist import KEYS, WORKERS, operations, preload, soloist
from lib.wire import soloist_read

READERS = f"--writers 0 --keys {KEYS} --readers"


def valkey_reads(bench: Bench, server: Server, port: int, name: str, flags: str) -> Run:
    """redis-benchmark asks for one of the keys."""
    return by_count(lambda count: watched(server, lambda: drive_valkey(bench, name, port, "get", f"{flags} GET 0", count)))


def h2load_reads(bench: Bench, server: Server, address: str, flags: str) -> Run:
    """h2load asks for one of the keys. It looks at HTTP's status alone, not at gRPC's."""
    def run(count: int) -> Figures:
        words = h2load_flags(bench, address, "soloist.v1.State/Read", soloist_read("0"), f"{flags} -n {count}")

        def read() -> Figures:
            output = bench.client("h2load", h2load_program(), *words)
            done = h2load_count(output)
            rate = re.search(r"^finished in .*, ([\d.]+) req/s", output, re.MULTILINE)
            if rate is None or done != count:
                raise Failed(f"h2load was to make {count} calls:\n{output.strip()[-2000:]}")
            return {"operations": done, "ops/s": float(rate[1])}

        return watched(server, read)

    return by_count(run)


@contextmanager
def unary(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (ours, address), valkey(bench) as (peer, port):
        preload(bench, address)
        yield {
            "Soloist": operations(bench, ours, address, "Soloist", f"--engine unary {READERS} {WORKERS}"),
            "Valkey": valkey_reads(bench, peer, port, "Valkey", f"-c {WORKERS} -P 1"),
        }


@contextmanager
def clients(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (server, address):
        preload(bench, address)
        yield {
            "raw": operations(bench, server, address, "raw", f"--engine raw {READERS} {WORKERS}"),
            "h2load": h2load_reads(bench, server, address, f"-c 1 -m {WORKERS} -t 1"),
        }


UNARY = Section(
    "unary",
    "Read by calls, 110 at once on one connection; GET by 110 clients",
    unary,
    [Row("calls : Valkey", "server CPU per Read; per GET", ("Soloist", "server us/op"), ("Valkey", "server us/op"), "≤", 0.65)],
)

CLIENTS = Section(
    "client-raw",
    "the client's CPU: Read by calls of the engine raw, 110 at once on one connection; h2load -c 1 -m 110",
    clients,
    [Row("raw : h2load", "client CPU per Read", ("raw", "client us/op"), ("h2load", "client us/op"), "≤", 0.25)],
)
