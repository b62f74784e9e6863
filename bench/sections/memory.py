"""Resident memory of a full store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lib.host.processes import Bench, Server
from lib.measure.figures import Figures
from lib.measure.memory import resident_after_settling
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill, key_of_16_bytes
from lib.systems.soloist import LARGE_STORE, soloist_server
from lib.systems.valkey import fill_valkey, valkey_program, valkey_server


@contextmanager
def start_memory(bench: Bench) -> Iterator[dict[str, Run]]:
    def soloist() -> Figures:
        with soloist_server(bench, *LARGE_STORE) as (server, address):
            fill(address, key_of_16_bytes, bench.key_count)
            return memory_figures(bench, server)

    def valkey() -> Figures:
        with valkey_server(bench) as (server, port):
            fill_valkey(port, key_of_16_bytes, bench.key_count)
            return memory_figures(bench, server)

    # Installs Valkey now: after Soloist's fill would be late to find that it cannot be installed.
    _ = valkey_program()
    yield {"Soloist": once_a_round(soloist), "Valkey": once_a_round(valkey)}


def once_a_round(measure: Callable[[], Figures]) -> Run:
    """A new server in each round: a store that was filled twice takes other memory than one that was filled once."""
    return lambda _seconds: measure()


def memory_figures(bench: Bench, server: Server) -> Figures:
    resident = resident_after_settling(server)
    return {"MB": resident / 1e6, "bytes/key": resident / bench.key_count}


MEMORY = Section(
    "memory",
    "resident memory with a million keys of 16 bytes and values of 100 bytes",
    start_memory,
    [Row("full store : Valkey", "VmRSS after the fill", ("Soloist", "MB"), ("Valkey", "MB"), "≤", 0.8)],
)
