"""Calls at a fixed rate, whatever becomes of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lib.host.errors import Failed
from lib.host.processes import Bench, environment
from lib.measure.figures import Figures

# What is asked for has to be answered by then, or it is worth nothing: sent with each call.
DEADLINE = "1s"
# Calls or frames of one connection: nearly all that its streams allow (--max-streams, and soloist-load's own limit).
ON_ONE_CONNECTION = 250
WARM_UP = 0.3


def milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def offered(bench: Bench, name: str, address: str, flags: str, rate: float, seconds: float) -> dict[str, Any]:
    """One open loop, and its report. Whatever fails is part of what is measured."""
    output = bench.scratch / "offered.json"
    timing = f"-r {rate:.0f} -z {milliseconds(seconds)} --warmup {milliseconds(WARM_UP)} -q -O json -o {output.name}"
    try:
        bench.client(name, bench.binaries["soloist-load"], address, *flags.split(), *timing.split())
    except Failed:
        # That nothing at all was answered in time is a result too, and reported.
        if not output.exists():
            raise
    answer: dict[str, Any] = json.loads(output.read_text())
    output.unlink()
    return answer


def quantile_of(answer: dict[str, Any], outcome: str) -> float:
    """p99 from when it was due, of one outcome; 0 if there was none."""
    found = answer["kinds"]["read"]["outcomes"].get(outcome)
    return float(found["p99_us"]) if found else 0.0


def figures_of(answer: dict[str, Any]) -> Figures:
    read = answer["kinds"]["read"]
    elapsed = answer["elapsed_seconds"]
    counts = {outcome: spread["count"] for outcome, spread in read["outcomes"].items()}
    answered = {
        "offered ops/s": answer["offered"]["per_second"],
        "good ops/s": read["completed"] / elapsed,
        "refused ops/s": read["failed"].get("RESOURCE_EXHAUSTED", 0) / elapsed,
        "late ops/s": read["failed"].get("DEADLINE_EXCEEDED", 0) / elapsed,
    }
    known = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    other = sum(count for outcome, count in counts.items() if outcome not in known)
    return {
        **answered,
        "otherwise failed": other,
        "p99 us": quantile_of(answer, "OK"),
        "refusal p99 us": quantile_of(answer, "RESOURCE_EXHAUSTED"),
    }


@contextmanager
def beside(bench: Bench, name: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client that has to run while another does, at the lowest priority on their core: it is the server that is to be
    short of time, not the other client."""
    command = ["nice", "-n", "19", *bench.on_core(1, [str(bench.binaries["soloist-load"]), *flags], bench.pinned)]
    bench.note(f"{name} client", command)
    process = subprocess.Popen(
        command, cwd=bench.scratch, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
