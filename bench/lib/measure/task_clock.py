"""The CPU time of another process while it runs. What clock_gettime(2) and /proc tell of one that is running is of the last
tick of the scheduler or of its last sleep: on a busy server that is up to 4 ms ago (CONFIG_HZ=250). A software event of perf
is brought up to date when it is read."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.host.errors import Failed
from lib.host.processes import Server

# Of perf_event_open(2): linux/perf_event.h, and the number of the call on x86-64 and on others (asm-generic).
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK = 1, 1
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
ATTRIBUTE_BYTES = 64
CLOSE_ON_EXEC = 8
PERF_EVENT_OPEN = 298 if os.uname().machine == "x86_64" else 241


def opened(thread: int) -> int:
    # Of a clock nothing is left out; it is what an unprivileged user has to ask for (perf_event_paranoid of 2).
    flags = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
    fields = (PERF_TYPE_SOFTWARE, ATTRIBUTE_BYTES, PERF_COUNT_SW_TASK_CLOCK, 0, 0, 0, flags, 0, 0, 0)
    attribute = struct.pack("<IIQQQQQIIQ", *fields)
    every_core, no_group = -1, -1
    system = ctypes.CDLL(None, use_errno=True)
    clock: int = system.syscall(PERF_EVENT_OPEN, attribute, thread, every_core, no_group, CLOSE_ON_EXEC)
    if clock < 0:
        why = os.strerror(ctypes.get_errno())
        raise Failed(f"perf_event_open: {why}; as root, sysctl kernel.perf_event_paranoid=2 may help")
    return clock


class TaskClock:
    def __init__(self, clocks: list[int]) -> None:
        self.clocks = clocks

    def microseconds(self) -> float:
        """Of all threads, since it was opened."""
        times: list[int] = [struct.unpack("<Q", os.read(clock, 8))[0] for clock in self.clocks]
        return sum(times) / 1e3


@contextmanager
def task_clock(server: Server) -> Iterator[TaskClock]:
    """Of the threads that there are now."""
    with ExitStack() as stack:
        clocks = []
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            clock = opened(int(thread.name))
            stack.callback(os.close, clock)
            clocks.append(clock)
        yield TaskClock(clocks)
