"""A client with little to ask beside one that asks for as much as it can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures, quantile
from lib.measure.memory import sampled
from lib.measure.model import Row, Run, Section
from lib.measure.task_clock import task_clock
from lib.systems.load import preload
from lib.systems.one_call import MOST_CALLS, caller, paced
from lib.systems.open_loop import DEADLINE, ON_ONE_CONNECTION, WARM_UP, beside, figures_of, milliseconds, offered
from lib.systems.soloist import soloist

# Of the modest client beside a greedy one: no load to speak of.
MODEST_RATE = 1_000
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
