"""CPU times around a run."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from lib.host.processes import Server
from lib.measure.figures import Figures


def children_cpu() -> float:
    """Of the clients that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_cpu() -> float:
    """Time that the cores were not idle, in seconds."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def watched(server: Server | None, run: Callable[[], Figures]) -> Figures:
    """Adds what the server and all others used meanwhile, as a number of cores; and if the run tells how many
    operations there were ("operations"), the CPU time of the server and of the clients for each."""

    def server_cpu() -> float:
        return server.cpu() if server is not None else 0.0

    start, machine, clients, cpu = time.monotonic(), machine_cpu(), children_cpu(), server_cpu()
    figures = run()
    elapsed = time.monotonic() - start
    cpu, clients = server_cpu() - cpu, children_cpu() - clients
    others = max(0.0, machine_cpu() - machine - cpu - clients)
    operations = figures.get("operations")
    if operations:
        if server is not None:
            figures["server us/op"] = cpu * 1e6 / operations
        figures["client us/op"] = clients * 1e6 / operations
    if server is not None:
        figures["server cores"] = cpu / elapsed
    return {**figures, "others cores": others / elapsed}
