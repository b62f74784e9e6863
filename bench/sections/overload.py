"""Calls at more than the highest rate that the server can carry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from lib.host.console import print_status
from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.memory import MemorySamples, sample_memory
from lib.measure.model import Row, Run, Section
from lib.systems.load import milliseconds, preload
from lib.systems.open_loop import (
    DEADLINE,
    STREAMS_PER_CONNECTION,
    WARM_UP,
    low_priority_load,
    open_loop,
    open_loop_figures,
    p99_of_outcome,
)
from lib.systems.soloist import soloist_server

# A rate holds if the p99 of its calls is at most so many microseconds from when each was due, no call failed, and
# so many of the offered calls were answered.
P99_MAX_US = 10_000.0
ANSWERED_MIN = 0.95
# Multiples of 1x.
FACTORS = (1, 2, 5, 10)
# Calls per second at which the search for 1x begins.
RATE_MIN = 2_000.0
# The search ends when the lowest rate that did not hold is at most so many times the highest one that did.
PRECISION = 1.1
# Most of the tries decide whether a rate holds: one short run can be lucky or disturbed.
TRIES = 3
SEARCH_SECONDS, QUICK_SEARCH_SECONDS = 1.5, 0.5
# In seconds: the windows in which the return to normal is looked for, and how many in a row must be good. One can be lucky.
WINDOW = 0.1
GOOD_WINDOWS = 3
# In seconds: the goal of the recovery, and how long it is waited for.
RECOVERY_MAX = 5.0
RECOVERY_TIMEOUT = 2 * RECOVERY_MAX


@dataclass(frozen=True)
class Scenario:
    """How many connections the calls come by, and so how many calls can be under way."""

    name: str
    description: str
    connections: int

    @property
    def flags(self) -> str:
        """A call that finds no free stream is dropped. It would wait in the client, and its latency would be the client's."""
        shape = f"--engine raw --connections {self.connections} --readers {self.connections} -P {STREAMS_PER_CONNECTION}"
        in_flight = self.connections * STREAMS_PER_CONNECTION
        return f"{shape} --writers 0 -t 1 --seed 1 --max-in-flight {in_flight} --timeout {DEADLINE} --allow-errors"


@contextmanager
def start_overload(bench: Bench, scenario: Scenario) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address):
        preload(bench, address)
        rate = highest_rate(bench, address, scenario)
        yield {
            **{f"{factor}x": overload_run(bench, server, address, scenario, factor * rate, f"{factor}x") for factor in FACTORS},
            "recovery": recovery_run(bench, server, address, scenario, rate),
        }


# --- 1x ----------------------------------------------------------------------------------------------------------------


def highest_rate(bench: Bench, address: str, scenario: Scenario) -> float:
    """The highest rate that holds, in calls per second. Doubles the rate until it does not hold, then bisects."""
    seconds = QUICK_SEARCH_SECONDS if bench.quick else SEARCH_SECONDS

    def holds(rate: float) -> bool:
        held = 0
        for tried in range(1, TRIES + 1):
            report = open_loop(bench, f"search, {scenario.name}", address, scenario.flags, rate, seconds)
            held += held_rate(report, rate)
            if 2 * held > TRIES or 2 * (tried - held) > TRIES:
                break
        return 2 * held > TRIES

    held, missed = 0.0, RATE_MIN
    while holds(missed):
        held, missed = missed, missed * 2
    if held == 0.0:
        limit = f"{P99_MAX_US / 1e3:g} ms (p99)"
        raise BenchError(f"the server does not answer {RATE_MIN:,.0f} calls a second within {limit}: the machine is too busy")
    while missed / held > PRECISION:
        middle = (held * missed) ** 0.5
        if holds(middle):
            held = middle
        else:
            missed = middle
    print_status(f"{scenario.name}: 1x is {held:,.0f} calls a second")
    return held


def held_rate(report: dict[str, Any], rate: float) -> bool:
    answered: float = report["ops_per_second"]
    failed = report["kinds"]["read"]["failed"]
    return not failed and p99_of_outcome(report, "OK") <= P99_MAX_US and answered >= ANSWERED_MIN * rate


# --- Beyond 1x ---------------------------------------------------------------------------------------------------------


def overload_run(bench: Bench, server: Server, address: str, scenario: Scenario, rate: float, name: str) -> Run:
    def run(seconds: float) -> Figures:
        with sample_memory(server) as memory:
            figures = with_cpu_times(
                server, lambda: open_loop_figures(open_loop(bench, name, address, scenario.flags, rate, seconds))
            )
        return {**figures, **early_and_late(memory)}

    return run


def early_and_late(memory: MemorySamples) -> Figures:
    """Resident memory in the second quarter of a run and in the last: what still grows then may grow for ever."""
    sizes = [size / 1e6 for size in memory.sizes]
    quarter = max(1, len(sizes) // 4)
    early = sizes[quarter : 2 * quarter] or sizes
    return {"MB": max(sizes), "early MB": median(early), "late MB": median(sizes[-quarter:])}


def recovery_run(bench: Bench, server: Server, address: str, scenario: Scenario, rate: float) -> Run:
    """1x all the time, and 10x more for `seconds`: the time from the end of the 10x until 1x is answered as before."""

    def run(seconds: float) -> Figures:
        extra = f"{scenario.flags} -r {10 * rate:.0f} -z {milliseconds(seconds)} -q -O json -o overload.json"

        def call() -> Figures:
            flags = f"{scenario.flags} --interval {milliseconds(WINDOW)}"
            with low_priority_load(bench, "overload", address, *extra.split()):
                report = open_loop(bench, "1x beside it", address, flags, rate, seconds + RECOVERY_TIMEOUT)
            # Both start together; only the 1x has a warm-up, and its intervals count from the end of that.
            return {"recovery s": recovery_seconds(report, seconds - WARM_UP)}

        return with_cpu_times(server, call)

    return run


def recovery_seconds(report: dict[str, Any], ended: float) -> float:
    """Seconds from `ended` to the end of the first of GOOD_WINDOWS good windows in a row."""
    windows = [
        (interval["start_seconds"] + interval["seconds"], interval["p99_us"] <= P99_MAX_US)
        for interval in report["intervals"]
        if interval["start_seconds"] >= ended and interval["completed"]
    ]
    for first in range(len(windows) - GOOD_WINDOWS + 1):
        if all(good for _, good in windows[first : first + GOOD_WINDOWS]):
            return float(windows[first][0] - ended)
    return RECOVERY_TIMEOUT


def overload_section(scenario: Scenario) -> Section:
    return Section(scenario.name, scenario.description, lambda bench: start_overload(bench, scenario), ROWS)


ROWS = [
    Row("good, 2x : 1x", "calls answered OK in time, per second", ("2x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.95),
    Row("good, 5x : 1x", "the same", ("5x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.9),
    Row("good, 10x : 1x", "the same", ("10x", "good ops/s"), ("1x", "good ops/s"), "≥", 0.9),
    Row("p99, 10x : 1x", "latency of the calls answered OK", ("10x", "p99 us"), ("1x", "p99 us"), "≤", 3.0),
    Row("refusals, 10x", "p99 of RESOURCE_EXHAUSTED", ("10x", "refusal p99 us"), None, "≤", P99_MAX_US),
    Row("otherwise failed, 10x", "neither refused nor late", ("10x", "otherwise failed"), None, "≤", 0.0),
    Row("memory, 10x", "late in the run; early in the run", ("10x", "late MB"), ("10x", "early MB"), "≤", 1.05),
    Row("recovery", "until 1x is answered within 10 ms again", ("recovery", "recovery s"), None, "≤", RECOVERY_MAX),
]

CALLS_2000 = overload_section(
    Scenario("calls-2000", "calls on 8 connections, at most 2,000 at once: all may wait for the owner", 8)
)
CALLS_16000 = overload_section(
    Scenario("calls-16000", "calls on 64 connections, at most 16,000 at once: more than may wait for the owner", 64)
)
