"""Soloist's load generator."""

from __future__ import annotations

import json
from typing import Any

from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.model import Run
from lib.measure.rounds import by_count

# As many as the seed has.
KEYS = 5
# As many as the seed has workers.
WORKERS = 110
# Time of a run by the clock that does not count.
WARM_UP = 0.5
# One connection and one thread: all that one core can use.
ONE = "--connections 1 -t 1 --seed 1"


def preload(bench: Bench, address: str, keys: int = KEYS) -> None:
    """Writes each of a few keys, so that Reads find them."""
    words = f"--readers 0 --writers 1 -n 1000 --keys {keys} --key-dist sequential -q".split()
    bench.client("preload", bench.binaries["soloist-load"], address, *words)


def load(bench: Bench, name: str, *flags: str, pinned: bool = True) -> dict[str, Any]:
    """soloist-load, and its report. Nothing may have failed."""
    output = bench.scratch / "report.json"
    words = f"-q -O json -o {output.name}".split()
    bench.client(name, bench.binaries["soloist-load"], *flags, *words, pinned=pinned)
    answer: dict[str, Any] = json.loads(output.read_text())
    output.unlink()
    if answer["failed"] or not answer["completed"]:
        raise Failed(f"soloist-load: completed {answer['completed']}, failed {answer['failed']}")
    return answer


def load_all(bench: Bench, name: str, *flags: str) -> dict[str, Any]:
    """The same, and every Read has to find its key."""
    answer = load(bench, name, *flags)
    if answer["read_misses"]:
        raise Failed(f"soloist-load: {answer['read_misses']} reads found no key, and all should be there")
    return answer


def timed(seconds: float) -> list[str]:
    """Flags of a run by the clock."""
    return ["-z", f"{round(seconds * 1000)}ms", "--warmup", f"{round(WARM_UP * 1000)}ms"]


def load_figures(answer: dict[str, Any], kind: str) -> Figures:
    latency = answer["latency"][kind]["response"]
    quantiles = {f"{name} us": latency[f"{name}_us"] for name in ("p50", "p99", "p99.9", "max")}
    return {"ops/s": answer["ops_per_second"], **quantiles}


def operations(bench: Bench, server: Server, address: str, name: str, flags: str) -> Run:
    """A known number of operations, for the CPU time of each."""

    def run(count: int) -> Figures:
        def drive() -> Figures:
            answer = load_all(bench, name, address, *flags.split(), *ONE.split(), "-n", str(count))
            return {"operations": answer["completed"], "ops/s": answer["ops_per_second"]}

        return watched(server, drive)

    return by_count(run)


READERS = f"--writers 0 --keys {KEYS} --readers"
FRAMES_OF_ONE = "--engine pipeline -P 16 --frame-ops 1"
FRAMES_OF_64 = "--engine pipeline -P 16 --frame-ops 64"
