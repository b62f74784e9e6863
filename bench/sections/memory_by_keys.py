"""Growth of resident memory with the number of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from lib.host.processes import Bench, Server
from lib.measure.curve import Curve, point_name
from lib.measure.figures import Figures
from lib.measure.memory import resident_after_settling
from lib.measure.model import Run
from lib.systems.fill import fill_ints, fill_range, key_counts
from lib.systems.soloist import LARGE_STORE, soloist_server

# Fills a store that has the first so many keys (the first number) up to so many keys (the second).
Fill = Callable[[Bench, str, int, int], None]


class GrowingStore:
    """A server that is filled from point to point. Each round has a new one."""

    def __init__(self, bench: Bench, servers: ExitStack, fill: Fill) -> None:
        self.bench = bench
        self.servers = servers
        self.fill = fill
        self.current: tuple[Server, str, int] | None = None

    def grow(self, before: int, count: int) -> Figures:
        """Fills the store up to `count` keys. It has `before` keys; with 0, a round begins."""
        if self.current is None or before == 0:
            self.servers.close()
            server, address = self.servers.enter_context(soloist_server(self.bench, *LARGE_STORE))
            self.current = server, address, server.resident_bytes()
        server, address, empty = self.current
        self.fill(self.bench, address, before, count)
        resident = resident_after_settling(server)
        return {"MB": resident / 1e6, "bytes each": (resident - empty) / count}


@contextmanager
def start_memory_by_keys(bench: Bench) -> Iterator[dict[str, Run]]:
    def fill_texts(_bench: Bench, address: str, before: int, count: int) -> None:
        fill_range(address, before, count)

    def fill_with_ints(own: Bench, address: str, _before: int, count: int) -> None:
        fill_ints(own, address, count)

    counts = key_counts(bench)
    fills: dict[str, Fill] = {"keys of 16 bytes, values of 100": fill_texts, "short keys, small ints": fill_with_ints}

    def grow_to(store: GrowingStore, before: int, count: int) -> Run:
        return lambda _seconds: store.grow(before, count)

    with ExitStack() as all_servers:
        runs: dict[str, Run] = {}
        for series, fill in fills.items():
            servers = all_servers.enter_context(ExitStack())
            store = GrowingStore(bench.in_folder(series), servers, fill)
            for before, count in zip([0, *counts[:-1]], counts, strict=True):
                runs[point_name(series, count)] = grow_to(store, before, count)
        yield runs


MEMORY_BY_KEYS = Curve("memory-by-keys", "resident memory after a fill", start_memory_by_keys, axis="keys", figure="MB")
