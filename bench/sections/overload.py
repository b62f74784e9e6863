"""What is left of the service when far more is asked for than there is time for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from lib.host.console import report
from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.memory import Memory, sampled
from lib.measure.model import Row, Run, Section
from lib.systems.load import preload
from lib.systems.open_loop import DEADLINE, ON_ONE_CONNECTION, WARM_UP, beside, figures_of, milliseconds, offered, quantile_of
from lib.systems.soloist import soloist

# A rate holds if so much of it is answered in this time, from when it was due.
HELD = 10_000.0
FACTORS = (1, 2, 5, 10)
# Where the search begins, and how near it comes.
LOWEST_RATE = 2_000.0
PRECISION = 1.1
# A short run can be lucky, and a disturbed one unlucky: more than half of the tries count.
TRIES = 3
# How often it is looked whether the service is as it was.
WINDOW = 0.1
# So many windows in a row have to be good, so that a lucky one is none.
GOOD_WINDOWS = 3
# How long it is waited for that, beyond the goal.
MAX_RECOVERY = 5.0
WAIT_FOR_RECOVERY = 2 * MAX_RECOVERY


@dataclass(frozen=True)
class Shape:
    """How calls are sent."""

    name: str
    what: str
    connections: int

    @property
    def flags(self) -> str:
        """What finds no place on the connections is dropped, as by a client that gives up: its time until then would be
        the client's."""
        shape = f"--engine raw --connections {self.connections} --readers {self.connections} -P {ON_ONE_CONNECTION}"
        places = self.connections * ON_ONE_CONNECTION
        return f"{shape} --writers 0 -t 1 --seed 1 --max-in-flight {places} --timeout {DEADLINE} --allow-errors"


def holds(answer: dict[str, Any], rate: float) -> bool:
    done: float = answer["ops_per_second"]
    return not answer["kinds"]["read"]["failed"] and quantile_of(answer, "OK") <= HELD and done >= 0.95 * rate


def highest_rate(bench: Bench, address: str, shape: Shape) -> float:
    """The highest rate that holds. Doubles, and then halves the distance."""
    seconds = 0.5 if bench.quick else 1.5

    def is_held(rate: float) -> bool:
        held = 0
        for tried in range(1, TRIES + 1):
            held += holds(offered(bench, f"search, {shape.name}", address, shape.flags, rate, seconds), rate)
            if 2 * held > TRIES or 2 * (tried - held) > TRIES:
                break
        return 2 * held > TRIES

    held, missed = 0.0, LOWEST_RATE
    while is_held(missed):
        held, missed = missed, missed * 2
    if held == 0.0:
        raise Failed(f"not even {LOWEST_RATE:,.0f} a second are answered in {HELD / 1e3:g} ms (p99): the machine is too busy")
    while missed / held > PRECISION:
        middle = (held * missed) ** 0.5
        if is_held(middle):
            held = middle
        else:
            missed = middle
    report(f"{shape.name}: 1x is {held:,.0f} a second")
    return held


def parts(memory: Memory) -> Figures:
    """What was resident in the second quarter of a run, and in the last: what still grows then goes on growing."""
    sizes = [size / 1e6 for _, size in memory.samples]
    quarter = max(1, len(sizes) // 4)
    early = sizes[quarter : 2 * quarter] or sizes
    return {"MB": max(sizes), "early MB": median(early), "late MB": median(sizes[-quarter:])}


def under(bench: Bench, server: Server, address: str, shape: Shape, rate: float, name: str) -> Run:
    def run(seconds: float) -> Figures:
        with sampled(server) as memory:
            figures = watched(server, lambda: figures_of(offered(bench, name, address, shape.flags, rate, seconds)))
        return {**figures, **parts(memory)}

    return run


def recovery(bench: Bench, server: Server, address: str, shape: Shape, rate: float) -> Run:
    """1x all the time, and 10x more for a while. From when those have ended until 1x is as it should be."""

    def run(seconds: float) -> Figures:
        overload = f"{shape.flags} -r {10 * rate:.0f} -z {milliseconds(seconds)} -q -O json -o overload.json"
        total = seconds + WAIT_FOR_RECOVERY
        figures: Figures = {}

        def drive() -> Figures:
            flags = f"{shape.flags} --interval {milliseconds(WINDOW)}"
            with beside(bench, "overload", address, *overload.split()):
                answer = offered(bench, "1x beside it", address, flags, rate, total)
            # The two begin within a few milliseconds of each other, but that this one warms up first.
            ended = seconds - WARM_UP
            windows = [
                (one["start_seconds"] + one["seconds"], one["p99_us"] <= HELD)
                for one in answer["intervals"]
                if one["start_seconds"] >= ended and one["completed"]
            ]
            for first in range(len(windows) - GOOD_WINDOWS + 1):
                if all(good for _, good in windows[first : first + GOOD_WINDOWS]):
                    figures["recovery s"] = windows[first][0] - ended
                    break
            else:
                figures["recovery s"] = WAIT_FOR_RECOVERY
            return figures

        return watched(server, drive)

    return run


@contextmanager
def overload(bench: Bench, shape: Shape) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (server, address):
        preload(bench, address)
        rate = highest_rate(bench, address, shape)
        runs = {f"{factor}x": under(bench, server, address, shape, factor * rate, f"{factor}x") for factor in FACTORS}
        yield {**runs, "recovery": recovery(bench, server, address, shape, rate)}


def rows() -> list[Row]:
    return [
        Row("good, 2x : 1x", "answered in order and in time", ("2x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.95),
        Row("good, 5x : 1x", "the same", ("5x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.9),
        Row("good, 10x : 1x", "the same", ("10x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.9),
        Row("p99, 10x : 1x", "of what is answered in order", ("10x", "p99 us"), ("1x", "p99 us"), "≤", 3.0),
        Row("refusals, 10x", "p99 of RESOURCE_EXHAUSTED", ("10x", "refusal p99 us"), None, "≤", HELD),
        Row("otherwise failed, 10x", "neither refused nor late", ("10x", "otherwise failed"), None, "≤", 0.0),
        Row("memory, 10x", "late in the run beside early", ("10x", "late MB"), ("10x", "early MB"), "≤", 1.05),
        Row("recovery", "until 1x is answered in 10 ms again", ("recovery", "recovery s"), None, "≤", MAX_RECOVERY),
    ]


def section_of(shape: Shape) -> Section:
    return Section(shape.name, shape.what, lambda bench: overload(bench, shape), rows())


OVERLOAD = [
    section_of(Shape("calls", "calls on 8 connections, 2,000 at once at most: no more than wait for the owner", 8)),
    section_of(Shape("many calls", "calls on 64 connections, 16,000 at once at most: more than may wait for the owner", 64)),
]
