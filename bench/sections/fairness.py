"""A modest client beside a greedy one, which has as much under way as one connection can have."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures, quantile
from lib.measure.memory import sample_memory
from lib.measure.model import Row, Run, Section
from lib.measure.task_clock import task_clock
from lib.systems.load import milliseconds, preload
from lib.systems.one_call import CALLS_MAX, caller, paced
from lib.systems.open_loop import (
    DEADLINE,
    STREAMS_PER_CONNECTION,
    WARM_UP,
    low_priority_load,
    open_loop,
    open_loop_figures,
)
from lib.systems.soloist import soloist_server

# Reads per second of the modest client: next to no load.
MODEST_RATE = 1_000
MODEST = f"--engine raw --readers 8 --writers 0 --connections 1 -t 1 --seed 1 --timeout {DEADLINE} --allow-errors"
MODEST_FIGURES = ("good ops/s", "refused ops/s", "late ops/s", "otherwise failed", "p99 us")
# The flags of the greedy client, by what it sends.
GREEDY = {
    "calls": f"--engine raw --readers {STREAMS_PER_CONNECTION}",
    "10,000 frames of 1": f"--engine pipeline --readers {STREAMS_PER_CONNECTION} -P 40",
    "all frames of 1": f"--engine pipeline --readers {STREAMS_PER_CONNECTION} -P 256",
    "frames of 64": f"--engine pipeline --readers {STREAMS_PER_CONNECTION} -P 8 --frame-ops 64",
    "frames of 1,024": "--engine pipeline --readers 16 -P 8 --frame-ops 1024",
}
GREEDY_COMMON = "--writers 0 --connections 1 -t 1 --seed 2 -q --allow-errors"


@contextmanager
def start_fairness(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address):
        preload(bench, address)
        yield {
            "alone": modest_alone(bench, server, address),
            **{f"beside {name}": modest_beside(bench, server, address, name, flags) for name, flags in GREEDY.items()},
        }


def modest_alone(bench: Bench, server: Server, address: str) -> Run:
    return lambda seconds: with_cpu_times(server, lambda: modest_client(bench, server, address, "alone", seconds))


def modest_beside(bench: Bench, server: Server, address: str, name: str, greedy: str) -> Run:
    def run(seconds: float) -> Figures:
        # The modest client runs twice. The greedy one begins before it and ends after it.
        duration = milliseconds(2 * seconds + 3 * WARM_UP + 1.0)
        words = f"{greedy} {GREEDY_COMMON} -z {duration}".split()
        with low_priority_load(bench, f"greedy, {name}", address, *words), sample_memory(server) as memory:
            time.sleep(WARM_UP)
            figures = with_cpu_times(server, lambda: modest_client(bench, server, address, name, seconds))
        return {**figures, "MB": memory.peak / 1e6}

    return run


def modest_client(
    bench: Bench,
    server: Server,
    address: str,
    name: str,
    seconds: float,
    flags: str = "",
    tls: ssl.SSLContext | None = None,
) -> Figures:
    """The modest client. `flags` and `tls` are for a server with TLS."""
    report = open_loop(bench, f"modest, {name}", address, f"{MODEST} {flags}", MODEST_RATE, seconds)
    figures = open_loop_figures(report)
    worked = server_time_per_call(server, address, seconds, tls)
    return {**{figure: figures[figure] for figure in MODEST_FIGURES}, **worked}


def server_time_per_call(server: Server, address: str, seconds: float, tls: ssl.SSLContext | None) -> Figures:
    """The CPU time that the server spends, for anybody, between a call and its answer.

    A client on an idle machine would wait as long. Other processes on the server's core do not change this figure; if
    they keep the caller from its own core, the caller sees its answer late, and the work until then is included.
    """
    worked: list[float] = []
    with caller(address, tls) as modest, task_clock(server) as clock:
        for _ in paced(CALLS_MAX, seconds):
            before = clock.microseconds()
            modest.call("0")
            worked.append(clock.microseconds() - before)
    return {"worked p50 us": quantile(worked, 0.5), "worked p99 us": quantile(worked, 0.99)}


def rows() -> Iterator[Row]:
    for name in GREEDY:
        side = f"beside {name}"
        yield Row(f"p99, {side}", f"latency at {MODEST_RATE:,} Reads a second", (side, "p99 us"), ("alone", "p99 us"), "≤", 3.0)
        worked = ((side, "worked p99 us"), ("alone", "worked p99 us"))
        yield Row(f"server's time, {side}", "CPU time of the server during a call, p99", *worked, "≤", 3.0)
        good = ((side, "good ops/s"), ("alone", "good ops/s"))
        yield Row(f"good, {side}", "Reads answered OK in time, per second", *good, "≥", 0.99)


FAIRNESS = Section(
    "fairness",
    "a modest client, with 1,000 Reads a second, beside a greedy one",
    start_fairness,
    list(rows()),
)
