"""Unary calls beside Valkey without pipelining and beside a call without state; the client's cost beside h2load's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.host.programs import OUTPUT_MAX
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.measure.rounds import sized_by_pilots
from lib.systems.h2load import answered_calls, calls_per_second, h2load_flags, h2load_program
from lib.systems.load import WORKERS, load_by_count, method_flags, preload, reader_flags
from lib.systems.soloist import read_request, soloist_server
from lib.systems.valkey import valkey_gets, valkey_server

# As many calls at once as the other clients make, on one connection.
H2LOAD = f"-c 1 -m {WORKERS} -t 1"

# The connections of a few clients, or of one that has several.
SOME_CONNECTIONS = 8

# The request that h2load repeats, for a call of a method that the user names. It has no blanks.
READ_AS_JSON = '{"key":"0"}'


@contextmanager
def start_unary(bench: Bench) -> Iterator[dict[str, Run]]:
    reads = reader_flags(WORKERS)
    with soloist_server(bench) as (server, address), valkey_server(bench) as (valkey, port):
        preload(bench, address)
        yield {
            "raw": load_by_count(bench, server, address, "raw", f"--engine raw {reads}"),
            "Valkey": valkey_gets(bench, valkey, port, "Valkey", f"-c {WORKERS} -P 1"),
            **{
                f"raw, {count} connections": load_by_count(
                    bench, server, address, f"raw, {count} connections", f"--engine raw {reads}", count
                )
                for count in (SOME_CONNECTIONS, WORKERS)
            },
            "generated": load_by_count(bench, server, address, "generated", f"--engine unary {reads}"),
            # The empty request asks for the health of the whole server.
            "Check": load_by_count(bench, server, address, "Check", " ".join(method_flags("grpc.health.v1.Health/Check"))),
        }


@contextmanager
def start_lone_caller(bench: Bench) -> Iterator[dict[str, Run]]:
    # With the default settings, as a user has it: both cores are everybody's.
    free = replace(bench, pinned=False)
    one = f"--engine raw {reader_flags(1)}"
    with soloist_server(free) as (server, address), valkey_server(free) as (valkey, port):
        preload(free, address)
        yield {
            "Soloist": load_by_count(free, server, address, "Soloist", one, kind="read"),
            "Valkey": valkey_gets(free, valkey, port, "Valkey", "-c 1 -P 1"),
        }


@contextmanager
def start_clients(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address):
        preload(bench, address)
        raw = load_by_count(bench, server, address, "raw", f"--engine raw {reader_flags(WORKERS)}")
        h2load = h2load_calls(bench, server, address, "h2load", "soloist.v1.State/Read", read_request("0"))
        method = method_flags("soloist.v1.State/Read", "-d", READ_AS_JSON)
        call = load_by_count(bench, server, address, "call", " ".join(method))
        runs = {"raw": raw, "call": call, "h2load": h2load}
        yield {name: with_calls_per_cpu_second(run) for name, run in runs.items()}


def h2load_calls(bench: Bench, server: Server, address: str, name: str, method: str, request: bytes) -> Run:
    def run_count(count: int) -> Figures:
        flags = h2load_flags(bench, address, method, request, f"{H2LOAD} -n {count}")

        def run() -> Figures:
            output = bench.client(name, h2load_program(), *flags)
            answered = answered_calls(output)
            if answered != count:
                raise BenchError(f"h2load made {answered} of {count} calls:\n{output.strip()[-OUTPUT_MAX:]}")
            return {"operations": answered, "ops/s": calls_per_second(output)}

        return with_cpu_times(server, run)

    return sized_by_pilots(run_count)


def with_calls_per_cpu_second(run: Run) -> Run:
    def run_seconds(seconds: float) -> Figures:
        figures = run(seconds)
        return {**figures, "client ops/CPU-s": 1e6 / figures["client us/op"]}

    return run_seconds


UNARY = Section(
    "unary",
    "unary Reads, 110 at once: the server's CPU time for each",
    start_unary,
    [
        Row(
            "calls : Valkey",
            "calls by the raw engine on one connection; GETs by 110 clients",
            ("raw", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            0.65,
        ),
        Row(
            "8 connections : Valkey",
            "the same calls, 14 at once on each of eight connections; the same GETs",
            (f"raw, {SOME_CONNECTIONS} connections", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            None,
        ),
        Row(
            "110 connections : Valkey",
            "the same calls, one at a time on each of 110 connections, as many as Valkey's clients have; the same GETs",
            (f"raw, {WORKERS} connections", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            1.0,
        ),
        Row(
            "calls, generated client",
            "calls by tonic's client, which is slower than the server, so that the server often has only a few at a time",
            ("generated", "server us/op"),
            ("Valkey", "server us/op"),
            "≤",
            None,
        ),
        Row(
            "calls : no state",
            "Reads by the raw engine; health Checks by the raw engine, which the same server answers without its owner",
            ("raw", "server us/op"),
            ("Check", "server us/op"),
            "≤",
            1.05,
        ),
    ],
)

LONE_CALLER = Section(
    "lone-caller",
    "unary Reads, one at a time on one connection, with the default settings and nothing pinned: latency, and the server's CPU time",
    start_lone_caller,
    [
        Row("p50 : Valkey", "calls by the raw engine; GETs by one client", ("Soloist", "p50 us"), ("Valkey", "p50 us"), "≤", 1.1),
        Row("CPU time : Valkey", "the same", ("Soloist", "server us/op"), ("Valkey", "server us/op"), "≤", None),
    ],
)

CLIENTS = Section(
    "client-raw",
    "unary Reads, 110 at once on one connection: the client's CPU time",
    start_clients,
    [
        Row("raw engine", "calls for each second of the client's CPU time", ("raw", "client ops/CPU-s"), None, "≥", 1e6),
        Row(
            "raw : h2load",
            "the same; h2load -c 1 -m 110",
            ("raw", "client ops/CPU-s"),
            ("h2load", "client ops/CPU-s"),
            "≥",
            4.0,
        ),
        Row(
            "call : h2load",
            "the Read as a method of any service, which reflection describes (soloist-load call); h2load",
            ("call", "client ops/CPU-s"),
            ("h2load", "client ops/CPU-s"),
            "≥",
            3.0,
        ),
        Row(
            "call : workload",
            "the same; the Reads of the workload, both by the raw engine",
            ("call", "client us/op"),
            ("raw", "client us/op"),
            "≤",
            1.3,
        ),
    ],
)
