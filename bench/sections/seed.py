"""The seed's workload over the network, on all cores, beside the seed itself in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.measuring import Figures, Row, Run, Section
from lib.running import Bench
from lib.soloist import load

# The seed's own figure.
PUBLISHED = 80_000


def alone(bench: Bench, name: str, flags: str = "") -> Run:
    """soloist-load with a server of its own, free to use every core."""
    def run(seconds: float) -> Figures:
        answer = load(bench, name, *flags.split(), "-z", f"{round(seconds * 1000)}ms", pinned=False)
        return {"operations": answer["completed"], "ops/s": answer["ops_per_second"]}

    return run


@contextmanager
def seed(bench: Bench) -> Iterator[dict[str, Run]]:
    yield {
        "Soloist": alone(bench, "Soloist"),
        "Soloist unary": alone(bench, "Soloist unary", "--engine unary"),
        "published": lambda _seconds: {"ops/s": PUBLISHED},
    }


SEED = Section(
    "seed",
    "the seed's workload on all cores; the seed's own figure, in process",
    seed,
    [
        Row("default : seed", "soloist-load without arguments", ("Soloist", "ops/s"), ("published", "ops/s"), "≥", None),
        Row("unary : seed", "every operation a call", ("Soloist unary", "ops/s"), ("published", "ops/s"), "≥", 2.0),
    ],
)
