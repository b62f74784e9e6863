"""The seed's workload over the network, on all cores, beside the seed itself in one process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import Failed
from lib.host.processes import Bench
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.goroutines import seed_program
from lib.systems.load import load

# The seed's own figure, with its sleeps: operations in one second.
PUBLISHED = 80_000
# Of the shapes tried, frames of 64 to 1,000 with 1 to 16 in flight: 16 are more than caches hold for 110 workers.
BEST = "--engine pipeline --frame-ops 64 -P 4"


def alone(bench: Bench, name: str, flags: str) -> Run:
    """soloist-load with a server of its own, free to use every core."""

    def run(seconds: float) -> Figures:
        def drive() -> Figures:
            answer = load(bench, name, *flags.split(), "-z", f"{round(seconds * 1000)}ms", pinned=False)
            return {"operations": answer["completed"], "ops/s": answer["ops_per_second"]}

        return watched(None, drive)

    return run


def seed_in_go(bench: Bench) -> Run:
    """Without its sleeps."""
    program = seed_program()

    def run(seconds: float) -> Figures:
        def drive() -> Figures:
            output = bench.client("seed in Go", program, "-duration", f"{round(seconds * 1000)}ms", pinned=False)
            counts = re.fullmatch(r"readOps: (\d+)\nwriteOps: (\d+)\n", output)
            if counts is None:
                raise Failed(f"the seed in Go printed {output[-2000:]!r}")
            reads, writes = int(counts[1]), int(counts[2])
            return {"reads": reads, "writes": writes, "operations": reads + writes, "ops/s": (reads + writes) / seconds}

        return watched(None, drive)

    return run


@contextmanager
def seed(bench: Bench) -> Iterator[dict[str, Run]]:
    yield {
        "frames": alone(bench, "frames", BEST),
        "seed in Go": seed_in_go(bench),
        "raw": alone(bench, "raw", "--engine raw"),
        "generated": alone(bench, "generated", "--engine unary"),
        "default": alone(bench, "default", ""),
        "published": lambda _seconds: {"ops/s": PUBLISHED},
    }


SEED = Section(
    "seed",
    "the seed's workload on all cores, 100 readers and 10 writers: throughput",
    seed,
    [
        Row(
            "frames : seed in Go",
            "frames of 64, 4 in flight; without its sleeps",
            ("frames", "ops/s"),
            ("seed in Go", "ops/s"),
            "≥",
            10.0,
        ),
        Row(
            "calls : seed's figure", "by the raw engine; its published one", ("raw", "ops/s"), ("published", "ops/s"), "≥", 2.0
        ),
        Row("calls, generated client", "by tonic's client", ("generated", "ops/s"), ("published", "ops/s"), "≥", 2.0),
        Row("without arguments", "frames of 1, one in flight", ("default", "ops/s"), ("published", "ops/s"), "≥", None),
    ],
)
