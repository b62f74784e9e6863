"""Writes beside many idle watches. Soloist beside itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.idle_watches import idle_watches
from lib.systems.load import FRAMES_OF_64, KEYS, WORKERS, operations
from lib.systems.soloist import soloist

MANY_WATCHES = 10_000


@contextmanager
def watches(bench: Bench) -> Iterator[dict[str, Run]]:
    watched_at, alone_at = bench.at("watches"), bench.at("no-watches")
    with (
        soloist(watched_at, name="watches") as (watched, watched_address),
        soloist(alone_at, name="none") as (alone, alone_address),
        idle_watches(watched_address, bench.amount(MANY_WATCHES)),
    ):
        yield {
            f"{name}, {shape}": operations(at, server, address, f"{name}, {shape}", f"{flags} --readers 0 --keys {KEYS}")
            for shape, flags in (("calls", f"--engine raw --writers {WORKERS}"), ("frames", f"{FRAMES_OF_64} --writers 8"))
            for name, at, server, address in (
                ("watches", watched_at, watched, watched_address),
                ("none", alone_at, alone, alone_address),
            )
        }


MANY_WATCHES_SECTION = Section(
    "watches",
    "Write with 10,000 idle watches, and with none: the server's CPU time",
    watches,
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
            "what a Write costs is not lost in what a call costs",
            ("watches, frames", "server us/op"),
            ("none, frames", "server us/op"),
            "≤",
            None,
        ),
    ],
)
