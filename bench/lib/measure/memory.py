"""What a process takes in memory while something runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lib.host.processes import Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures

# Each reads one small file.
EVERY = 0.05


@dataclass
class Memory:
    """When (by time.monotonic) there were how many bytes resident."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max(size for _, size in self.samples)

    def slope(self, since: float) -> float:
        """Bytes a second since then, by least squares: what a peak hides."""
        late = [(at, size) for at, size in self.samples if at >= since]
        if len(late) < 2:
            return 0.0
        mean_at = sum(at for at, _ in late) / len(late)
        mean_size = sum(size for _, size in late) / len(late)
        spread = sum((at - mean_at) ** 2 for at, _ in late)
        return sum((at - mean_at) * (size - mean_size) for at, size in late) / spread


@contextmanager
def sampled(server: Server) -> Iterator[Memory]:
    memory = Memory()
    ended = threading.Event()

    def take() -> None:
        memory.samples.append((time.monotonic(), server.resident_bytes()))

    def go_on() -> None:
        while not ended.wait(EVERY):
            take()

    take()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
        take()


def remembered(server: Server, drive: Callable[[], Figures]) -> Figures:
    """Adds the CPU time of each operation, and the most memory that was resident meanwhile."""
    with sampled(server) as memory:
        figures = watched(server, drive)
    return {**figures, "MB": memory.peak / 1e6}


# Enough for what a fill has left to be given back.
SETTLE = 1.0
