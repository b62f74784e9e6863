"""What an operation costs when there is much else: many keys, many watches. Soloist beside itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lib.measuring import Row, Run, Section
from lib.running import Bench, Failed
from lib.soloist import KEYS, WORKERS, operations, preload, soloist
from lib.wire import channel, decoded, sized, soloist_info, soloist_keys
from sections.pipelines import FRAMES_OF_64

MANY_KEYS = 10_000_000
MANY_WATCHES = 10_000
# On one connection: fewer than the server allows (--max-streams).
WATCHES_A_CONNECTION = 200
# Of Info.
WATCH_COUNT = 12


def fill_ints(bench: Bench, address: str, count: int) -> None:
    """By the load generator's own names, with its small ints. One worker goes through all keys, once."""
    words = f"{FRAMES_OF_64} --readers 0 --writers 1 --keys {count} --key-dist sequential -n {count} -q".split()
    bench.client("fill", bench.binaries["soloist-load"], address, *words)
    if soloist_keys(address) != count:
        raise Failed(f"{count:,} keys were written and {soloist_keys(address):,} are there")


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


@contextmanager
def idle_watches(address: str, count: int) -> Iterator[None]:
    """Watches of keys that nobody writes. Each is there when its first message is."""
    # With a pool of its own each channel is a connection of its own.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        watches: list[Any] = []
        for first in range(0, count, WATCHES_A_CONNECTION):
            opened = stack.enter_context(channel(address, options))
            watch = opened.unary_stream("/soloist.v1.State/Watch")
            numbers = range(first, min(first + WATCHES_A_CONNECTION, count))
            watches += [watch(sized(1, f"quiet/{number}".encode()), wait_for_ready=True) for number in numbers]
        for one in watches:
            if decoded(next(one)).get(1):
                raise Failed("a watch of a key that nobody writes is shown a change")
        there = soloist_info(address).get(WATCH_COUNT, 0)
        if there != count:
            raise Failed(f"{count:,} watches were opened and {there:,} are there")
        # What opening them has left to be done.
        time.sleep(1)
        yield
        ended = sum(not one.is_active() for one in watches)
        if ended:
            raise Failed(f"{ended:,} of {count:,} watches ended meanwhile")


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
