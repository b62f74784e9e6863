"""CPU times of the server, of its clients and of everything else during a run."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from lib.host.processes import Server
from lib.measure.figures import OTHERS_CORES, Figures


def with_cpu_times(server: Server | None, run: Callable[[], Figures]) -> Figures:
    """Runs `run` and adds CPU times to its figures.

    Adds the cores that the server used, and those that processes which are neither the server nor clients used
    (OTHERS_CORES). If `run` returns a number of "operations", adds the CPU time of the server and of the clients for each.
    """

    def server_cpu_seconds() -> float:
        return server.cpu_seconds() if server is not None else 0.0

    began = time.monotonic()
    machine, clients, served = machine_cpu_seconds(), clients_cpu_seconds(), server_cpu_seconds()
    figures = run()
    elapsed = time.monotonic() - began
    served, clients = server_cpu_seconds() - served, clients_cpu_seconds() - clients
    others = max(0.0, machine_cpu_seconds() - machine - served - clients)
    operations = figures.get("operations")
    if operations:
        if server is not None:
            figures["server us/op"] = served * 1e6 / operations
        figures["client us/op"] = clients * 1e6 / operations
    if server is not None:
        figures["server cores"] = served / elapsed
    return {**figures, OTHERS_CORES: others / elapsed}


def clients_cpu_seconds() -> float:
    """User and system time of the clients that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_cpu_seconds() -> float:
    """The time that all cores together were not idle."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
