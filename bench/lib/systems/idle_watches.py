"""Watches of keys that nobody writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lib.host.errors import Failed
from lib.systems.calls import channel
from lib.systems.protobuf import decoded, sized
from lib.systems.soloist import soloist_info

# On one connection: fewer than the server allows (--max-streams).
WATCHES_A_CONNECTION = 200
# Of Info.
WATCH_COUNT = 12


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
