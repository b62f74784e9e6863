"""The resident memory of a server during a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lib.host.processes import Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures

# In seconds. A sample reads one small file of /proc.
SAMPLE_INTERVAL = 0.05
# In seconds, after a fill: enough for a server to return the memory that only the fill needed.
SETTLE_SECONDS = 1.0


@dataclass
class MemorySamples:
    # In bytes, in the order in which they were taken.
    sizes: list[int] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max(self.sizes)


@contextmanager
def sample_memory(server: Server) -> Iterator[MemorySamples]:
    """Samples VmRSS during the block, and once at its beginning and end."""
    samples = MemorySamples()
    ended = threading.Event()

    def take() -> None:
        samples.sizes.append(server.resident_bytes())

    def take_until_end() -> None:
        while not ended.wait(SAMPLE_INTERVAL):
            take()

    take()
    thread = threading.Thread(target=take_until_end, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        take()


def with_cpu_times_and_memory(server: Server, run: Callable[[], Figures]) -> Figures:
    """`with_cpu_times`, and the most memory that was resident during the run."""
    with sample_memory(server) as samples:
        figures = with_cpu_times(server, run)
    return {**figures, "MB": samples.peak / 1e6}


def resident_after_settling(server: Server) -> int:
    """Resident bytes, a second from now."""
    time.sleep(SETTLE_SECONDS)
    return server.resident_bytes()
