"""Fills Soloist with keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from lib.host.console import report
from lib.host.errors import Failed
from lib.host.processes import Bench
from lib.systems.calls import channel
from lib.systems.load import FRAMES_OF_64
from lib.systems.protobuf import sized
from lib.systems.soloist import soloist_keys, soloist_write

BATCH_OPS = 1_000
BATCHES_IN_FLIGHT = 4


def long_name(key: int) -> str:
    """16 bytes."""
    return f"key-{key:012}"


def fill(address: str, names: Callable[[int], str], count: int, passes: int = 1) -> None:
    """Writes all keys, in order, in Batches; and again."""

    def batch(first: int) -> bytes:
        keys = range(first, min(first + BATCH_OPS, count))
        return b"".join(sized(1, sized(2, soloist_write(names(key)))) for key in keys)

    began = time.monotonic()
    send_batches(address, (batch(first) for _ in range(passes) for first in range(0, count, BATCH_OPS)))
    keys = soloist_keys(address)
    if keys < count:
        raise Failed(f"{count:,} keys were written and {keys:,} are there")
    report(f"filled with {count:,} keys in {time.monotonic() - began:.1f} s" + (", each twice" if passes > 1 else ""))


def fill_long_names(address: str, first: int, end: int) -> None:
    """As `fill` with `long_name`, from one key to another. As all take the same bytes but for the number, it takes a tenth
    of the time."""
    before, after = sized(1, sized(2, soloist_write(long_name(0)))).split(b"%012d" % 0)

    def batch(at: int) -> bytes:
        return b"".join([b"%b%012d%b" % (before, key, after) for key in range(at, min(at + BATCH_OPS, end))])

    send_batches(address, map(batch, range(first, end, BATCH_OPS)))
    if soloist_keys(address) != end:
        raise Failed(f"{end:,} keys were written and {soloist_keys(address):,} are there")


def send_batches(address: str, batches: Iterable[bytes]) -> None:
    """Each a BatchRequest, some of them under way at a time."""
    with channel(address) as opened:
        send = opened.unary_unary("/soloist.v1.State/Batch")
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(send.future(batch, timeout=60))
            if len(waiting) == BATCHES_IN_FLIGHT:
                waiting.pop(0).result()
        for answer in waiting:
            answer.result()


def fill_ints(bench: Bench, address: str, count: int) -> None:
    """By the load generator's own names, with its small ints. One worker goes through all keys, once."""
    words = f"{FRAMES_OF_64} --readers 0 --writers 1 --keys {count} --key-dist sequential -n {count} -q".split()
    bench.client("fill", bench.binaries["soloist-load"], address, *words)
    if soloist_keys(address) != count:
        raise Failed(f"{count:,} keys were written and {soloist_keys(address):,} are there")
