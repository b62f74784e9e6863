"""Durable Writes: throughput beside Valkey and etcd, and the latency of one writer beside the disk itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.host.programs import require_program
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures, quantile
from lib.measure.model import Row, Run, Section
from lib.measure.rounds import sized_by_pilots
from lib.systems.etcd import ETCD_PROTO, etcd_revision, etcd_server, put_request
from lib.systems.h2load import answered_calls, h2load_flags, h2load_program
from lib.systems.load import (
    FRAMES_OF_1,
    ONE_CONNECTION,
    WARM_UP,
    WORKERS,
    latencies,
    load,
    method_flags,
    milliseconds,
    time_flags,
)
from lib.systems.soloist import VALUE_BYTES, soloist_revision, soloist_server, write_request
from lib.systems.valkey import redis_benchmark, valkey_server

# The keys that soloist-load and redis-benchmark write, but 9,000 in etcd. h2load can write only one.
KEYS = 10_000
# 110 calls at once.
H2LOAD = "-c 10 -m 11"
VALKEY_DURABLE = ["--appendonly", "yes", "--appendfsync", "always"]
# A durable SET is slow, so a pilot of so many is enough.
FIRST_PILOT = 500

# The least that a durable write has to do, as a Python program: argument 1 is a file, argument 2 the seconds.
APPEND_AND_SYNC = f"""
import json, os, sys, time
record, until, took = b"x" * {VALUE_BYTES}, time.perf_counter() + float(sys.argv[2]), []
file = os.open(sys.argv[1], os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
now = time.perf_counter()
while now < until:
    os.write(file, record)
    os.fdatasync(file)
    now, before = time.perf_counter(), now
    took.append((now - before) * 1e6)
print(json.dumps(took))
"""


@dataclass(frozen=True)
class GrpcWrite:
    """A gRPC call that writes, and the server's revision, which counts the writes."""

    name: str
    address: str
    method: str
    request: bytes
    revision: Callable[[str], int]


@contextmanager
def start_writes(bench: Bench) -> Iterator[dict[str, Run]]:
    own = bench.in_folder("writes")
    with (
        soloist_server(own, data=own.scratch / "soloist.data") as (server, address),
        valkey_server(own, *VALKEY_DURABLE) as (valkey, port),
        etcd_server(own) as (member, member_address),
    ):
        unary = f"--engine raw --writers {WORKERS}"
        pipeline = f"{FRAMES_OF_1} --writers {WORKERS}"
        write = GrpcWrite("Soloist, h2load", address, "soloist.v1.State/Write", write_request("written"), soloist_revision)
        put = GrpcWrite("etcd, h2load", member_address, "etcdserverpb.KV/Put", put_request(), etcd_revision)
        yield {
            "Soloist unary": soloist_writes(own, server, address, "Soloist unary", unary, WORKERS),
            "Valkey": valkey_sets(own, valkey, port, "Valkey", f"-c {WORKERS} -P 1"),
            "etcd": etcd_puts(own, member, member_address),
            "Soloist pipeline": soloist_writes(own, server, address, "Soloist pipeline", pipeline, 16 * WORKERS),
            "Valkey -P 16": valkey_sets(own, valkey, port, "Valkey -P 16", f"-c {WORKERS} -P 16"),
            "Soloist h2load": h2load_writes(own, server, write),
            "etcd h2load": h2load_writes(own, member, put),
        }


@contextmanager
def start_latency(bench: Bench) -> Iterator[dict[str, Run]]:
    own = bench.in_folder("latency")
    with (
        soloist_server(own, data=own.scratch / "soloist.data") as (server, address),
        valkey_server(own, *VALKEY_DURABLE) as (valkey, port),
    ):
        yield {
            "Soloist": soloist_writes(own, server, address, "Soloist", "--engine unary --writers 1", 1),
            "append": append_and_sync(own),
            "Valkey": valkey_sets(own, valkey, port, "Valkey", "-c 1 -P 1"),
        }


def soloist_writes(bench: Bench, server: Server, address: str, name: str, flags: str, in_flight: int) -> Run:
    words = f"--readers 0 {flags} --keys {KEYS} --value-size {VALUE_BYTES} {ONE_CONNECTION}".split()

    def run(seconds: float) -> Figures:
        def write() -> Figures:
            figures = latencies(load(bench, name, address, *words, *time_flags(seconds)), "write")
            # A closed loop always has as many operations in flight, so Little's law gives the mean latency.
            return {**figures, "mean us": in_flight * 1e6 / figures["ops/s"]}

        return with_cpu_times(server, write)

    return run


def etcd_puts(bench: Bench, server: Server, address: str) -> Run:
    # A key of 3 bytes: 4 digits are base64.
    put = json.dumps({"key": "{{int 1000 9999}}", "value": f"{{{{bytes {VALUE_BYTES}}}}}"})
    words = [*method_flags("etcdserverpb.KV/Put", "--proto", str(ETCD_PROTO), "-d", put), *ONE_CONNECTION.split()]

    def run(seconds: float) -> Figures:
        def write() -> Figures:
            return latencies(load(bench, "etcd", address, *words, *time_flags(seconds)), "call")

        before = etcd_revision(address)
        figures = with_cpu_times(server, write)
        written = etcd_revision(address) - before
        if written < figures["ops/s"] * seconds:
            raise BenchError(f"etcd: {figures['ops/s'] * seconds:.0f} Puts are counted, and the server has {written}")
        return figures

    return run


def h2load_writes(bench: Bench, server: Server, call: GrpcWrite) -> Run:
    def run(seconds: float) -> Figures:
        timing = f"--warm-up-time={milliseconds(WARM_UP)} -D {milliseconds(seconds)}"
        words = h2load_flags(bench, call.address, call.method, call.request, f"{H2LOAD} {timing}")

        def write() -> Figures:
            return {"ops/s": answered_calls(bench.client(call.name, h2load_program(), *words)) / seconds}

        before = call.revision(call.address)
        figures = with_cpu_times(server, write)
        written = call.revision(call.address) - before
        if written < figures["ops/s"] * seconds:
            raise BenchError(f"{call.name}: h2load counts {figures['ops/s'] * seconds:.0f} writes, and the server {written}")
        return figures

    return run


def valkey_sets(bench: Bench, server: Server, port: int, name: str, flags: str) -> Run:
    words = f"-d {VALUE_BYTES} -r {KEYS} {flags} -t set"
    return sized_by_pilots(
        lambda count: with_cpu_times(server, lambda: redis_benchmark(bench, name, port, "set", words, count)), FIRST_PILOT
    )


def append_and_sync(bench: Bench) -> Run:
    def run(seconds: float) -> Figures:
        # Pinned by hand: the program stands in for a server, so it runs on the servers' core.
        words = ["-c", bench.cores[0], sys.executable, "-c", APPEND_AND_SYNC, "appended", str(seconds)]

        def append() -> Figures:
            output = bench.client("append + fdatasync", Path(require_program("taskset", None)), *words, pinned=False)
            took = json.loads(output)
            figures = {"ops/s": len(took) / seconds, "mean us": sum(took) / len(took), "max us": max(took)}
            return {**figures, "p50 us": quantile(took, 0.5), "p99 us": quantile(took, 0.99)}

        return with_cpu_times(None, append)

    return run


WRITES = Section(
    "writes",
    "durable Writes, 110 at once, values of 100 bytes: throughput",
    start_writes,
    [
        Row(
            "unary : Valkey",
            "calls by the raw engine; SETs by 110 clients, appendfsync always",
            ("Soloist unary", "ops/s"),
            ("Valkey", "ops/s"),
            "≥",
            1.0,
        ),
        Row(
            "pipeline : Valkey",
            "110 streams, each with 16 frames of one Write in flight; SETs by 110 clients, each with 16 in flight",
            ("Soloist pipeline", "ops/s"),
            ("Valkey -P 16", "ops/s"),
            "≥",
            1.0,
        ),
        Row(
            "unary : etcd",
            "calls by the raw engine, 110 at once; Puts by the same engine, 110 at once",
            ("Soloist unary", "ops/s"),
            ("etcd", "ops/s"),
            "≥",
            10.0,
        ),
        Row(
            "h2load : etcd",
            "calls by h2load, which is the client of both sides here",
            ("Soloist h2load", "ops/s"),
            ("etcd h2load", "ops/s"),
            "≥",
            10.0,
        ),
        Row(
            "pipeline : etcd",
            "streams as above; Puts by the raw engine, 110 at once, as etcd has no frames",
            ("Soloist pipeline", "ops/s"),
            ("etcd", "ops/s"),
            "≥",
            10.0,
        ),
    ],
)

LATENCY = Section(
    "latency",
    "one durable writer, values of 100 bytes: latency",
    start_latency,
    [
        Row(
            "p50 : append",
            "calls by the generated client; append and fdatasync of 100 bytes in a loop",
            ("Soloist", "p50 us"),
            ("append", "p50 us"),
            "≤",
            2.0,
        ),
        Row("mean : append", "the same, mean", ("Soloist", "mean us"), ("append", "mean us"), "≤", 2.0),
        Row("p50 : Valkey", "the same calls; SETs by one client", ("Soloist", "p50 us"), ("Valkey", "p50 us"), "≤", None),
    ],
)
