"""Writes beside many idle watches, and without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.idle_watches import idle_watches
from lib.systems.load import FRAMES_OF_64, KEYS, WORKERS, load_by_count
from lib.systems.soloist import soloist_server

WATCH_COUNT = 10_000
SHAPES = {"calls": f"--engine raw --writers {WORKERS}", "frames": f"{FRAMES_OF_64} --writers 8"}


@contextmanager
def start_many_watches(bench: Bench) -> Iterator[dict[str, Run]]:
    watched_bench, unwatched_bench = bench.in_folder("watches"), bench.in_folder("no-watches")
    with (
        soloist_server(watched_bench, name="watches") as (watched, watched_address),
        soloist_server(unwatched_bench, name="none") as (unwatched, unwatched_address),
        idle_watches(watched_address, bench.scaled(WATCH_COUNT)),
    ):
        servers = (
            ("watches", watched_bench, watched, watched_address),
            ("none", unwatched_bench, unwatched, unwatched_address),
        )
        yield {
            f"{name}, {shape}": load_by_count(
                side_bench, server, address, f"{name}, {shape}", f"{flags} --readers 0 --keys {KEYS}"
            )
            for shape, flags in SHAPES.items()
            for name, side_bench, server, address in servers
        }


MANY_WATCHES = Section(
    "many-watches",
    "Writes with 10,000 watches of other keys, and with none: the server's CPU time for each Write",
    start_many_watches,
    [
        Row(
            "calls, 10,000 : 0 watches",
            "by the raw engine",
            ("watches, calls", "server us/op"),
            ("none, calls", "server us/op"),
            "≤",
            1.05,
        ),
        Row(
            "frames of 64, 10,000 : 0 watches",
            "the cost of a Write is most of the cost here, and little of the cost of a call",
            ("watches, frames", "server us/op"),
            ("none, frames", "server us/op"),
            "≤",
            None,
        ),
    ],
)
