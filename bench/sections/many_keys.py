"""Reads of many keys. Soloist beside itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill_ints
from lib.systems.load import FRAMES_OF_64, KEYS, WORKERS, operations, preload
from lib.systems.soloist import soloist

MANY_KEYS = 10_000_000


@contextmanager
def keys(bench: Bench) -> Iterator[dict[str, Run]]:
    count = bench.amount(MANY_KEYS)
    many_at, few_at = bench.at("many-keys"), bench.at("few-keys")
    with (
        soloist(many_at, "--max-store-bytes", str(4 << 30), name="many keys") as (many, many_address),
        soloist(few_at, name="5 keys") as (few, few_address),
    ):
        fill_ints(many_at, many_address, count)
        preload(few_at, few_address)
        yield {
            f"{name}, {shape}": operations(at, server, address, f"{name}, {shape}", f"{flags} --writers 0 --keys {number}")
            for shape, flags in (("calls", f"--engine raw --readers {WORKERS}"), ("frames", f"{FRAMES_OF_64} --readers 8"))
            for name, at, server, address, number in (
                ("many keys", many_at, many, many_address, count),
                ("5 keys", few_at, few, few_address, KEYS),
            )
        }


MANY_KEYS_SECTION = Section(
    "keys",
    "Read with 10 million keys, and with 5: the server's CPU time",
    keys,
    [
        Row(
            "calls, 10 M : 5 keys",
            "any key, by the raw engine",
            ("many keys, calls", "server us/op"),
            ("5 keys, calls", "server us/op"),
            "≤",
            1.5,
        ),
        Row(
            "frames of 64, 10 M : 5 keys",
            "any key; what a key costs is not lost in what a call costs",
            ("many keys, frames", "server us/op"),
            ("5 keys, frames", "server us/op"),
            "≤",
            None,
        ),
    ],
)
