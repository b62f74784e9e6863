"""Resident memory of a full store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lib.host.processes import Bench, Server
from lib.measure.figures import Figures
from lib.measure.memory import SETTLE
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill, long_name
from lib.systems.soloist import soloist
from lib.systems.valkey import fill_valkey, valkey, valkey_program


def resident(bench: Bench, server: Server) -> Figures:
    time.sleep(SETTLE)
    used = server.resident_bytes()
    return {"MB": used / 1e6, "bytes/key": used / bench.key_count}


def afresh(measure: Callable[[], Figures]) -> Run:
    """A server of its own for each round: what was filled twice is not what was filled once."""
    return lambda _seconds: measure()


@contextmanager
def memory(bench: Bench) -> Iterator[dict[str, Run]]:
    def ours() -> Figures:
        # A GiB of payload is the default; a store of any number of keys has to fit.
        with soloist(bench, "--max-store-bytes", str(1 << 40)) as (server, address):
            fill(address, long_name, bench.key_count)
            return resident(bench, server)

    def peer() -> Figures:
        with valkey(bench) as (server, port):
            fill_valkey(port, long_name, bench.key_count)
            return resident(bench, server)

    # Before the first fill, not after it.
    _ = valkey_program()
    yield {"Soloist": afresh(ours), "Valkey": afresh(peer)}


MEMORY = Section(
    "memory",
    "resident memory with a million keys of 16 bytes and values of 100",
    memory,
    [Row("full store : Valkey", "VmRSS after the fill", ("Soloist", "MB"), ("Valkey", "MB"), "≤", 0.8)],
)
