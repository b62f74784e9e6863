"""The stateful-goroutines workload: Soloist over the network, beside the Go program in one process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.host.programs import OUTPUT_MAX
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.goroutines import goroutines_program
from lib.systems.load import load, milliseconds, throughput

# The figure on the page that the workload comes from: operations in one second, with a pause after each operation.
PUBLISHED = 80_000
# The fastest shape of those tried: frames of 64 to 1,000, with 1 to 16 in flight. With 16 in flight, the frames of 110
# workers no longer fit into the caches.
FASTEST = "--engine pipeline --frame-ops 64 -P 4"


@contextmanager
def start_goroutines(bench: Bench) -> Iterator[dict[str, Run]]:
    yield {
        "frames": with_own_server(bench, "frames", FASTEST),
        "Go": go_without_pauses(bench),
        "raw": with_own_server(bench, "raw", "--engine raw"),
        "generated": with_own_server(bench, "generated", "--engine unary"),
        "default": with_own_server(bench, "default", ""),
        "published": lambda _seconds: {"ops/s": PUBLISHED},
    }


def with_own_server(bench: Bench, name: str, flags: str) -> Run:
    """soloist-load with a server of its own, which together may use every core."""

    def run(seconds: float) -> Figures:
        words = [*flags.split(), "-z", milliseconds(seconds)]
        return with_cpu_times(None, lambda: throughput(load(bench, name, *words, pinned=False)))

    return run


def go_without_pauses(bench: Bench) -> Run:
    program = goroutines_program()

    def run(seconds: float) -> Figures:
        def count() -> Figures:
            output = bench.client("Go", program, "-duration", milliseconds(seconds), pinned=False)
            counts = re.fullmatch(r"readOps: (\d+)\nwriteOps: (\d+)\n", output)
            if counts is None:
                raise BenchError(f"the stateful-goroutines program printed {output[-OUTPUT_MAX:]!r}")
            reads, writes = int(counts[1]), int(counts[2])
            return {"reads": reads, "writes": writes, "operations": reads + writes, "ops/s": (reads + writes) / seconds}

        return with_cpu_times(None, count)

    return run


GOROUTINES = Section(
    "goroutines",
    "the stateful-goroutines workload on all cores, 100 readers and 10 writers: throughput",
    start_goroutines,
    [
        Row(
            "frames : Go",
            "frames of 64, 4 in flight, over TCP; the Go program without its pauses, in one process",
            ("frames", "ops/s"),
            ("Go", "ops/s"),
            "≥",
            10.0,
        ),
        Row(
            "calls : published", "by the raw engine; the figure of the page", ("raw", "ops/s"), ("published", "ops/s"), "≥", 2.0
        ),
        Row("calls, generated client", "by tonic's client", ("generated", "ops/s"), ("published", "ops/s"), "≥", 2.0),
        Row("without arguments", "frames of 1, one in flight", ("default", "ops/s"), ("published", "ops/s"), "≥", None),
    ],
)
