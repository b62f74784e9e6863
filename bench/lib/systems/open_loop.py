"""Open loops by soloist-load: Reads at a fixed rate, which may be refused or answered too late."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lib.host.errors import BenchError
from lib.host.processes import Bench, clean_environment
from lib.measure.figures import Figures
from lib.systems.load import KEY_NAMES, milliseconds

# Sent with each call. A later answer is of no use to its caller.
DEADLINE = "1s"
# Nearly as many calls, or streams, as one connection allows (the server's --max-streams, and soloist-load's own limit).
STREAMS_PER_CONNECTION = 250
# In seconds: the beginning of a run, which its report leaves out.
WARM_UP = 0.3


def open_loop(bench: Bench, name: str, address: str, flags: str, rate: float, seconds: float) -> dict[str, Any]:
    """Runs an open loop and returns its report. Failed operations are part of the result."""
    output = bench.scratch / "open-loop.json"
    timing = f"-r {rate:.0f} -z {milliseconds(seconds)} --warmup {milliseconds(WARM_UP)}"
    to_file = f"{KEY_NAMES} -q -O json -o {output.name}"
    try:
        bench.client(name, bench.binaries["soloist-load"], address, *flags.split(), *timing.split(), *to_file.split())
    except BenchError:
        # soloist-load also exits with an error if no operation succeeded. It writes its report then as well.
        if not output.exists():
            raise
    report: dict[str, Any] = json.loads(output.read_text())
    output.unlink()
    return report


def p99_of_outcome(report: dict[str, Any], outcome: str) -> float:
    """p99 of the Reads with this outcome, in microseconds from when each was due. 0 if there were none."""
    latency = report["kinds"]["read"]["outcomes"].get(outcome)
    return float(latency["p99_us"]) if latency else 0.0


def open_loop_figures(report: dict[str, Any]) -> Figures:
    read = report["kinds"]["read"]
    elapsed = report["elapsed_seconds"]
    expected = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    return {
        "offered ops/s": report["offered"]["per_second"],
        "good ops/s": read["completed"] / elapsed,
        "refused ops/s": read["failed"].get("RESOURCE_EXHAUSTED", 0) / elapsed,
        "late ops/s": read["failed"].get("DEADLINE_EXCEEDED", 0) / elapsed,
        "otherwise failed": sum(latency["count"] for outcome, latency in read["outcomes"].items() if outcome not in expected),
        "p99 us": p99_of_outcome(report, "OK"),
        "refusal p99 us": p99_of_outcome(report, "RESOURCE_EXHAUSTED"),
    }


@contextmanager
def low_priority_load(bench: Bench, name: str, *flags: str) -> Iterator[None]:
    """A soloist-load that runs during the block, on the clients' core and at the lowest priority.

    It shall keep the server busy, and leave the other client all the time of their core that the other client wants.
    """
    command = ["nice", "-n", "19", *bench.pin(1, [str(bench.binaries["soloist-load"]), *flags, KEY_NAMES])]
    bench.record_command(f"{name} client", command)
    process = subprocess.Popen(
        command, cwd=bench.scratch, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
