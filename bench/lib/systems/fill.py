"""Fills Soloist with many keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from lib.host.console import print_status
from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.systems.grpc_calls import channel
from lib.systems.load import FRAMES_OF_64, KEY_NAMES, KEYS
from lib.systems.protobuf import length_delimited
from lib.systems.soloist import soloist_key_count, write_request

BATCH_OPS = 1_000
BATCHES_IN_FLIGHT = 4
# In seconds.
BATCH_TIMEOUT = 60


def key_counts(bench: Bench) -> list[int]:
    """Numbers of keys for a curve, up to --keys."""
    return [*(count for count in (KEYS, 1_000, 100_000, 1_000_000) if count < bench.key_count), bench.key_count]


def key_of_16_bytes(number: int) -> str:
    return f"key-{number:012}"


def fill(address: str, key_name: Callable[[int], str], count: int, passes: int = 1) -> None:
    """Writes all keys in order, as often as there are passes."""

    def batch(first: int) -> bytes:
        return b"".join(batched_write(key_name(number)) for number in range(first, min(first + BATCH_OPS, count)))

    began = time.monotonic()
    send_batches(address, (batch(first) for _ in range(passes) for first in range(0, count, BATCH_OPS)))
    check_key_count(address, count, at_least=True)
    twice = f", each written {passes} times" if passes > 1 else ""
    print_status(f"filled with {count:,} keys in {time.monotonic() - began:.1f} s{twice}")


def fill_range(address: str, first: int, end: int) -> None:
    """Writes the keys `key_of_16_bytes(first)` to `key_of_16_bytes(end - 1)` of a store that has the keys below `first`.

    Takes a tenth of the time of `fill`, as the encoded operations differ only in the number.
    """
    before, after = batched_write(key_of_16_bytes(0)).split(b"%012d" % 0)

    def batch(start: int) -> bytes:
        return b"".join([b"%b%012d%b" % (before, number, after) for number in range(start, min(start + BATCH_OPS, end))])

    send_batches(address, map(batch, range(first, end, BATCH_OPS)))
    check_key_count(address, end)


def fill_ints(bench: Bench, address: str, count: int) -> None:
    """Writes a small int to each of `count` keys, in order. The load generator does it, under the names that it gives keys."""
    words = f"{FRAMES_OF_64} --readers 0 --writers 1 --keys {count} --key-dist sequential {KEY_NAMES} -n {count} -q".split()
    bench.client("fill", bench.binaries["soloist-load"], address, *words)
    check_key_count(address, count)


def batched_write(key: str) -> bytes:
    """The field of a BatchRequest that holds a Write."""
    return length_delimited(1, length_delimited(2, write_request(key)))


def check_key_count(address: str, wanted: int, at_least: bool = False) -> None:
    found = soloist_key_count(address)
    if found < wanted or (found > wanted and not at_least):
        raise BenchError(f"{wanted:,} keys were written, and the server has {found:,}")


def send_batches(address: str, batches: Iterable[bytes]) -> None:
    """Sends encoded BatchRequests in order, BATCHES_IN_FLIGHT at a time."""
    with channel(address) as opened:
        send = opened.unary_unary("/soloist.v1.State/Batch")
        in_flight: list[Any] = []
        for batch in batches:
            in_flight.append(send.future(batch, timeout=BATCH_TIMEOUT))
            if len(in_flight) == BATCHES_IN_FLIGHT:
                in_flight.pop(0).result()
        for answer in in_flight:
            answer.result()
