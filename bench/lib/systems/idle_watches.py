"""Watches of keys that nobody writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lib.host.errors import BenchError
from lib.systems.grpc_calls import channel
from lib.systems.protobuf import decode, length_delimited
from lib.systems.soloist import INFO_WATCH_COUNT, soloist_info

# Fewer than a server allows on one connection (--max-streams).
WATCHES_PER_CONNECTION = 200
# In seconds: enough for the server to finish the work of opening the watches.
SETTLE_SECONDS = 1
# A field of soloist.v1.WatchResponse.
WATCH_EVENTS = 1
# Without it grpcio shares one connection among all channels to a server.
CONNECTION_PER_CHANNEL = [("grpc.use_local_subchannel_pool", 1)]


@contextmanager
def idle_watches(address: str, count: int) -> Iterator[None]:
    """Keeps `count` watches open during the block. All must still be open at its end."""
    with ExitStack() as stack:
        watches: list[Any] = []
        for first in range(0, count, WATCHES_PER_CONNECTION):
            opened = stack.enter_context(channel(address, CONNECTION_PER_CHANNEL))
            watch = opened.unary_stream("/soloist.v1.State/Watch")
            numbers = range(first, min(first + WATCHES_PER_CONNECTION, count))
            watches += [watch(watch_request(f"quiet/{number}"), wait_for_ready=True) for number in numbers]
        for stream in watches:
            # A watch is open once its first message has arrived.
            if decode(next(stream)).get(WATCH_EVENTS):
                raise BenchError("a watch of a key that nobody writes was sent a change")
        found = soloist_info(address).get(INFO_WATCH_COUNT, 0)
        if found != count:
            raise BenchError(f"{count:,} watches were opened, and the server has {found:,}")
        time.sleep(SETTLE_SECONDS)
        yield
        ended = sum(not stream.is_active() for stream in watches)
        if ended:
            raise BenchError(f"{ended:,} of {count:,} watches ended during the measurement")


def watch_request(key: str) -> bytes:
    """A soloist.v1.WatchRequest."""
    return length_delimited(1, key.encode())
