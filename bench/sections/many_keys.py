"""Reads of a store with many keys beside Reads of a store with five."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill_ints
from lib.systems.load import FRAMES_OF_64, KEYS, WORKERS, load_by_count, preload
from lib.systems.soloist import LARGE_STORE, soloist_server

KEY_COUNT = 10_000_000
SHAPES = {"calls": f"--engine raw --readers {WORKERS}", "frames": f"{FRAMES_OF_64} --readers 8"}


@contextmanager
def start_many_keys(bench: Bench) -> Iterator[dict[str, Run]]:
    count = bench.scaled(KEY_COUNT)
    many_bench, few_bench = bench.in_folder("many-keys"), bench.in_folder("few-keys")
    with (
        soloist_server(many_bench, *LARGE_STORE, name="many keys") as (many, many_address),
        soloist_server(few_bench, name="5 keys") as (few, few_address),
    ):
        fill_ints(many_bench, many_address, count)
        preload(few_bench, few_address)
        stores = (
            ("many keys", many_bench, many, many_address, count),
            ("5 keys", few_bench, few, few_address, KEYS),
        )
        yield {
            f"{store}, {shape}": load_by_count(
                side_bench, server, address, f"{store}, {shape}", f"{flags} --writers 0 --keys {keys}"
            )
            for shape, flags in SHAPES.items()
            for store, side_bench, server, address, keys in stores
        }


MANY_KEYS = Section(
    "many-keys",
    "Reads with 10 million keys, and with 5: the server's CPU time for each Read",
    start_many_keys,
    [
        Row(
            "calls, 10 M : 5 keys",
            "Reads of any key, by the raw engine",
            ("many keys, calls", "server us/op"),
            ("5 keys, calls", "server us/op"),
            "≤",
            1.5,
        ),
        Row(
            "frames of 64, 10 M : 5 keys",
            "Reads of any key; the cost of a key is most of the cost here, and little of the cost of a call",
            ("many keys, frames", "server us/op"),
            ("5 keys, frames", "server us/op"),
            "≤",
            None,
        ),
    ],
)
