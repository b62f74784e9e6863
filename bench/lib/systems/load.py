"""Soloist's load generator. Its reports are read as JSON; nothing here looks at its text output."""

from __future__ import annotations

import json
from typing import Any

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Run
from lib.measure.rounds import sized_by_pilots

# The stateful-goroutines workload has 5 keys, and 100 readers and 10 writers. Most sections use as many.
KEYS = 5
WORKERS = 110
# In seconds: the beginning of a run by time, which its report leaves out.
WARM_UP = 0.5
# One core has no use for more threads.
ONE_THREAD = "-t 1 --seed 1"
ONE_CONNECTION = f"--connections 1 {ONE_THREAD}"
# Keys are named "0", "1" and so on, as h2load and the fills of this package name them.
KEY_NAMES = "--key-prefix="
FRAMES_OF_1 = "--engine pipeline -P 16 --frame-ops 1"
FRAMES_OF_64 = "--engine pipeline -P 16 --frame-ops 64"


def reader_flags(readers: int) -> str:
    """Flags of a run that only reads."""
    return f"--writers 0 --keys {KEYS} --readers {readers}"


def time_flags(seconds: float) -> list[str]:
    """Flags of a run by time."""
    return ["-z", milliseconds(seconds), "--warmup", milliseconds(WARM_UP)]


def milliseconds(seconds: float) -> str:
    """A duration as soloist-load takes it."""
    return f"{round(seconds * 1000)}ms"


def preload(bench: Bench, address: str, keys: int = KEYS, flags: str = "") -> None:
    """Writes each of a few keys, so that Reads find them."""
    words = f"--readers 0 --writers 1 -n 1000 --keys {keys} --key-dist sequential {KEY_NAMES} -q {flags}".split()
    bench.client("preload", bench.binaries["soloist-load"], address, *words)


def load(bench: Bench, name: str, *flags: str, pinned: bool = True) -> dict[str, Any]:
    """Runs soloist-load and returns its report. An operation that failed ends the section."""
    output = bench.scratch / "report.json"
    words = f"{KEY_NAMES} -q -O json -o {output.name}".split()
    bench.client(name, bench.binaries["soloist-load"], *flags, *words, pinned=pinned)
    report: dict[str, Any] = json.loads(output.read_text())
    output.unlink()
    if report["failed"] or not report["completed"]:
        raise BenchError(f"soloist-load: {report['completed']} operations completed, {report['failed']} failed")
    return report


def load_without_misses(bench: Bench, name: str, *flags: str) -> dict[str, Any]:
    """`load`; a Read that found no key ends the section."""
    report = load(bench, name, *flags)
    if report["read_misses"]:
        raise BenchError(f"soloist-load: {report['read_misses']} Reads found no key, and all keys were written before")
    return report


def throughput(report: dict[str, Any]) -> Figures:
    return {"operations": report["completed"], "ops/s": report["ops_per_second"]}


def latencies(report: dict[str, Any], kind: str) -> Figures:
    """Throughput, and response times of one kind of operation."""
    response = report["latency"][kind]["response"]
    quantiles = {f"{name} us": response[f"{name}_us"] for name in ("p50", "p99", "p99.9", "max")}
    return {"ops/s": report["ops_per_second"], **quantiles}


def method_flags(method: str, *flags: str) -> list[str]:
    """Flags of calls of any gRPC service by the raw engine: as many at once as the workers of other runs."""
    return ["--call", method, "--engine", "raw", "-c", str(WORKERS), *flags]


def load_by_count(
    bench: Bench, server: Server, address: str, name: str, flags: str, connections: int = 1, kind: str | None = None
) -> Run:
    """Runs of a known number of operations, which gives the CPU time of each. With `kind`, also the latencies of that kind."""

    def run_count(count: int) -> Figures:
        words = [*flags.split(), "--connections", str(connections), *ONE_THREAD.split(), "-n", str(count)]

        def measure() -> Figures:
            report = load_without_misses(bench, name, address, *words)
            return {**throughput(report), **(latencies(report, kind) if kind is not None else {})}

        return with_cpu_times(server, measure)

    return sized_by_pilots(run_count)
