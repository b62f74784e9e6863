"""Durable Writes: throughput beside Valkey and etcd, and the latency of one writer beside the disk itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.host.programs import need
from lib.measure.cpu import watched
from lib.measure.figures import Figures, quantile
from lib.measure.model import Row, Run, Section
from lib.measure.rounds import by_count
from lib.systems.etcd import etcd, etcd_put, etcd_revision
from lib.systems.h2load import h2load_count, h2load_flags, h2load_program
from lib.systems.load import ONE, WARM_UP, WORKERS, load, load_figures, timed
from lib.systems.soloist import VALUE_BYTES, soloist, soloist_revision, soloist_write
from lib.systems.valkey import drive_valkey, valkey

# Over how many keys the throughput's writes are spread, where the client can do that.
KEYS = 10_000
H2LOAD_WRITERS = "-c 10 -m 11"
DURABLE = ["--appendonly", "yes", "--appendfsync", "always"]


def soloist_writes(bench: Bench, server: Server, address: str, name: str, flags: str, in_flight: int) -> Run:
    words = f"--readers 0 {flags} --keys {KEYS} --value-size {VALUE_BYTES} {ONE}".split()

    def run(seconds: float) -> Figures:
        def write() -> Figures:
            figures = load_figures(load(bench, name, address, *words, *timed(seconds)), "write")
            # The load is closed: there are always as many under way.
            return {**figures, "mean us": in_flight * 1e6 / figures["ops/s"]}

        return watched(server, write)

    return run


@dataclass(frozen=True)
class GrpcServer:
    """What h2load needs to know of a server to write to it, and to count what was written."""

    name: str
    address: str
    method: str
    request: bytes
    revision: Callable[[str], int]


def h2load_writes(bench: Bench, server: Server, to: GrpcServer, flags: str) -> Run:
    def run(seconds: float) -> Figures:
        timing = f"--warm-up-time={round(WARM_UP * 1000)}ms -D {round(seconds * 1000)}ms"
        words = h2load_flags(bench, to.address, to.method, to.request, f"{flags} {timing}")

        def write() -> Figures:
            return {"ops/s": h2load_count(bench.client(to.name, h2load_program(), *words)) / seconds}

        before = to.revision(to.address)
        figures = watched(server, write)
        written = to.revision(to.address) - before
        if written < figures["ops/s"] * seconds:
            raise Failed(f"{to.name}: only {written} Writes arrived, and h2load counts {figures['ops/s'] * seconds:.0f}")
        return figures

    return run


def valkey_writes(bench: Bench, server: Server, port: int, name: str, flags: str) -> Run:
    words = f"-d {VALUE_BYTES} -r {KEYS} {flags} -t set"
    return by_count(lambda count: watched(server, lambda: drive_valkey(bench, name, port, "set", words, count)), first=500)


@contextmanager
def writes(bench: Bench) -> Iterator[dict[str, Run]]:
    at = bench.at("writes")
    with (
        soloist(at, data=at.scratch / "soloist.data") as (ours, address),
        valkey(at, *DURABLE) as (peer, port),
        etcd(at) as (member, member_address),
    ):
        unary = f"--engine raw --writers {WORKERS}"
        pipeline = f"--engine pipeline -P 16 --frame-ops 1 --writers {WORKERS}"
        to_soloist = GrpcServer(
            "Soloist, h2load", address, "soloist.v1.State/Write", soloist_write("written"), soloist_revision
        )
        to_etcd = GrpcServer("etcd, h2load", member_address, "etcdserverpb.KV/Put", etcd_put("written"), etcd_revision)
        yield {
            "Soloist unary": soloist_writes(at, ours, address, "Soloist unary", unary, WORKERS),
            "Valkey": valkey_writes(at, peer, port, "Valkey", f"-c {WORKERS} -P 1"),
            "etcd": h2load_writes(at, member, to_etcd, H2LOAD_WRITERS),
            "Soloist pipeline": soloist_writes(at, ours, address, "Soloist pipeline", pipeline, 16 * WORKERS),
            "Valkey -P 16": valkey_writes(at, peer, port, "Valkey -P 16", f"-c {WORKERS} -P 16"),
            "Soloist h2load": h2load_writes(at, ours, to_soloist, H2LOAD_WRITERS),
        }


# The least that a durable write can do.
APPEND = f"""
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


@contextmanager
def latency(bench: Bench) -> Iterator[dict[str, Run]]:
    at = bench.at("latency")

    def append(seconds: float) -> Figures:
        # On the core of the servers, whose place it takes.
        words = ["-c", at.cores[0], sys.executable, "-c", APPEND, "appended", str(seconds)]

        def appended() -> Figures:
            took = json.loads(at.client("append + fdatasync", Path(need("taskset", None)), *words, pinned=False))
            figures = {"ops/s": len(took) / seconds, "mean us": sum(took) / len(took), "max us": max(took)}
            return {**figures, **{f"{name} us": quantile(took, part) for name, part in (("p50", 0.5), ("p99", 0.99))}}

        return watched(None, appended)

    with soloist(at, data=at.scratch / "soloist.data") as (ours, address), valkey(at, *DURABLE) as (peer, port):
        yield {
            "Soloist": soloist_writes(at, ours, address, "Soloist", "--engine unary --writers 1", 1),
            "append": append,
            "Valkey": valkey_writes(at, peer, port, "Valkey", "-c 1 -P 1"),
        }


WRITES = Section(
    "writes",
    "throughput of durable Writes, 110 at once, values of 100 bytes",
    writes,
    [
        Row("unary : Valkey", "calls; SET by 110 clients", ("Soloist unary", "ops/s"), ("Valkey", "ops/s"), "≥", 1.0),
        Row(
            "pipeline : Valkey",
            "110 streams, 16 frames of one Write in flight; SET by 110 clients, -P 16",
            ("Soloist pipeline", "ops/s"),
            ("Valkey -P 16", "ops/s"),
            "≥",
            1.0,
        ),
        Row("unary : etcd", "calls; Put by h2load, 110 at once", ("Soloist unary", "ops/s"), ("etcd", "ops/s"), "≥", 10.0),
        Row("h2load : etcd", "the same client on both sides", ("Soloist h2load", "ops/s"), ("etcd", "ops/s"), "≥", 10.0),
        Row(
            "pipeline : etcd",
            "as above; Put by h2load, 110 at once, as etcd has no frames",
            ("Soloist pipeline", "ops/s"),
            ("etcd", "ops/s"),
            "≥",
            10.0,
        ),
    ],
)


LATENCY = Section(
    "latency",
    "one writer, values of 100 bytes",
    latency,
    [
        Row("p50 : append", "a call; append + fdatasync of 100 bytes", ("Soloist", "p50 us"), ("append", "p50 us"), "≤", 2.0),
        Row("mean : append", "the same, mean", ("Soloist", "mean us"), ("append", "mean us"), "≤", 2.0),
        Row("p50 : Valkey", "a call; SET by one client", ("Soloist", "p50 us"), ("Valkey", "p50 us"), "≤", None),
    ],
)
