"""What is left of the service when far more is asked for than there is time for."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from lib.measuring import Figures, Row, Run, Section, quantile, watched
from lib.one_call import MOST_CALLS, caller, paced
from lib.running import Bench, Failed, Server, environment, report
from lib.sampling import Memory, sampled
from lib.soloist import preload, soloist
from lib.task_clock import task_clock

# What is asked for has to be answered by then, or it is worth nothing: sent with each call.
DEADLINE = "1s"
# A rate holds if so much of it is answered in this time, from when it was due.
HELD = 10_000.0
FACTORS = (1, 2, 5, 10)
# Where the search begins, and how near it comes.
LOWEST_RATE = 2_000.0
PRECISION = 1.1
# A short run can be lucky, and a disturbed one unlucky: more than half of the tries count.
TRIES = 3
# Calls or frames of one connection: nearly all that its streams allow (--max-streams, and soloist-load's own limit).
ON_ONE_CONNECTION = 250
WARM_UP = 0.3
# How often it is looked whether the service is as it was.
WINDOW = 0.1
# So many windows in a row have to be good, so that a lucky one is none.
GOOD_WINDOWS = 3
# How long it is waited for that, beyond the goal.
MAX_RECOVERY = 5.0
WAIT_FOR_RECOVERY = 2 * MAX_RECOVERY
# Of the modest client beside a greedy one: no load to speak of.
MODEST_RATE = 1_000


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


# --- Rates -------------------------------------------------------------------------------------------------------


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


def under(bench: Bench, server: Server, address: str, shape: Shape, rate: float, name: str) -> Run:
    def run(seconds: float) -> Figures:
        with sampled(server) as memory:
            figures = watched(server, lambda: figures_of(offered(bench, name, address, shape.flags, rate, seconds)))
        return {**figures, **parts(memory)}

    return run


# --- Recovery ----------------------------------------------------------------------------------------------------


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


# --- Fairness ----------------------------------------------------------------------------------------------------

# What one connection can have under way, by kind.
GREEDY = {
    "calls": f"--engine raw --readers {ON_ONE_CONNECTION}",
    "10,000 frames of 1": f"--engine pipeline --readers {ON_ONE_CONNECTION} -P 40",
    "all frames of 1": f"--engine pipeline --readers {ON_ONE_CONNECTION} -P 256",
    "frames of 64": f"--engine pipeline --readers {ON_ONE_CONNECTION} -P 8 --frame-ops 64",
    "frames of 1,024": "--engine pipeline --readers 16 -P 8 --frame-ops 1024",
}


def worked_meanwhile(server: Server, address: str, seconds: float) -> Figures:
    """How long the server worked, for anybody, between a call and its answer, by its CPU time: what its clients wait for on a
    machine that does nothing else. What others take of the server's core does not change it; where they keep the caller from
    its own, the answer is seen late, and what the server did until then is in it."""
    worked: list[float] = []
    with caller(address) as modest, task_clock(server) as clock:
        for _ in paced(MOST_CALLS, seconds):
            before = clock.microseconds()
            modest.call("0")
            worked.append(clock.microseconds() - before)
    return {"worked p50 us": quantile(worked, 0.5), "worked p99 us": quantile(worked, 0.99)}


@contextmanager
def fairness(bench: Bench) -> Iterator[dict[str, Run]]:
    modest = f"--engine raw --readers 8 --writers 0 --connections 1 -t 1 --seed 1 --timeout {DEADLINE} --allow-errors"
    with soloist(bench) as (server, address):
        preload(bench, address)

        def beside_greedy(name: str, flags: str | None) -> Run:
            def drive(seconds: float) -> Figures:
                answer = offered(bench, f"modest, {name}", address, modest, MODEST_RATE, seconds)
                figures = figures_of(answer)
                wanted = ("good ops/s", "refused ops/s", "late ops/s", "otherwise failed", "p99 us")
                return {**{figure: figures[figure] for figure in wanted}, **worked_meanwhile(server, address, seconds)}

            def run(seconds: float) -> Figures:
                if flags is None:
                    return watched(server, lambda: drive(seconds))
                # It is there before and after.
                lasts = milliseconds(2 * seconds + 3 * WARM_UP + 1.0)
                words = f"{flags} --writers 0 --connections 1 -t 1 --seed 2 -z {lasts} -q --allow-errors".split()
                with beside(bench, f"greedy, {name}", address, *words), sampled(server) as memory:
                    time.sleep(WARM_UP)
                    figures = watched(server, lambda: drive(seconds))
                return {**figures, "MB": memory.peak / 1e6}

            return run

        yield {
            "alone": beside_greedy("alone", None),
            **{f"beside {name}": beside_greedy(name, flags) for name, flags in GREEDY.items()},
        }


def fairness_rows() -> Iterator[Row]:
    for name in GREEDY:
        greedy = f"beside {name}"
        yield Row(f"p99, {greedy}", f"{MODEST_RATE:,} Reads a second", (greedy, "p99 us"), ("alone", "p99 us"), "≤", 3.0)
        worked = ((greedy, "worked p99 us"), ("alone", "worked p99 us"))
        yield Row(f"server's time, {greedy}", "CPU time of the server during a call, p99", *worked, "≤", 3.0)
        yield Row(f"good, {greedy}", "the same", (greedy, "good ops/s"), ("alone", "good ops/s"), "≥", 0.99)


FAIRNESS = Section(
    "fairness",
    "a client with 1,000 Reads a second beside one that has as much under way as one connection can have",
    fairness,
    list(fairness_rows()),
)

OVERLOAD = [
    section_of(Shape("calls", "calls on 8 connections, 2,000 at once at most: no more than wait for the owner", 8)),
    section_of(Shape("many calls", "calls on 64 connections, 16,000 at once at most: more than may wait for the owner", 64)),
    FAIRNESS,
]
