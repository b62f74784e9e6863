"""The CPU time of another process while it runs.

clock_gettime(2) and /proc show the CPU time of a running process as it was at the last tick of the scheduler, or when the
process last slept. For a busy server that is up to 4 ms ago (CONFIG_HZ=250). A software event of perf is brought up to date
when it is read.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Server

# Of perf_event_open(2), from linux/perf_event.h.
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK = 1, 1
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
ATTRIBUTE_BYTES = 64
CLOSE_ON_EXEC = 8
# The number of the system call: on x86-64, and elsewhere (asm-generic).
PERF_EVENT_OPEN = 298 if os.uname().machine == "x86_64" else 241
EVERY_CORE, NO_GROUP = -1, -1


class TaskClock:
    """The clocks of the threads of a server, as file descriptors."""

    def __init__(self, clocks: list[int]) -> None:
        self.clocks = clocks

    def microseconds(self) -> float:
        """CPU time of all threads together since the clocks were opened."""
        times: list[int] = [struct.unpack("<Q", os.read(clock, 8))[0] for clock in self.clocks]
        return sum(times) / 1e3


@contextmanager
def task_clock(server: Server) -> Iterator[TaskClock]:
    """A clock of the threads that the server has now; threads that start later are not in it."""
    with ExitStack() as stack:
        clocks = []
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            clock = open_thread_clock(int(thread.name))
            stack.callback(os.close, clock)
            clocks.append(clock)
        yield TaskClock(clocks)


def open_thread_clock(thread: int) -> int:
    # The kernel counts all time of a task clock whatever these flags say; without them it refuses users who are not root
    # (kernel.perf_event_paranoid of 2).
    flags = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
    fields = (PERF_TYPE_SOFTWARE, ATTRIBUTE_BYTES, PERF_COUNT_SW_TASK_CLOCK, 0, 0, 0, flags, 0, 0, 0)
    attribute = struct.pack("<IIQQQQQIIQ", *fields)
    system = ctypes.CDLL(None, use_errno=True)
    clock: int = system.syscall(PERF_EVENT_OPEN, attribute, thread, EVERY_CORE, NO_GROUP, CLOSE_ON_EXEC)
    if clock < 0:
        reason = os.strerror(ctypes.get_errno())
        raise BenchError(f"perf_event_open: {reason}; as root, sysctl kernel.perf_event_paranoid=2 may help")
    return clock
