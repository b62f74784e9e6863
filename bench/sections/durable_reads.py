"""Reads of durable keys while another key is written, beside the same in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.h2load import h2load_flags, h2load_program
from lib.systems.load import (
    KEYS,
    ONE_CONNECTION,
    WARM_UP,
    latencies,
    load_without_misses,
    milliseconds,
    preload,
    time_flags,
)
from lib.systems.soloist import soloist_revision, soloist_server, write_request

# Writes a second, by 5 connections. Each may have 200 calls in flight before h2load falls behind its rate.
PACED_RATE = 5_000
WRITERS = {"paced": f"-c 5 -m 200 --rps {PACED_RATE // 5}", "busy": "-c 10 -m 11"}
READERS = f"--engine unary --readers 8 --writers 0 --keys {KEYS} {ONE_CONNECTION}"
# In seconds, beyond the readers' run: the writers must not end first.
WRITERS_MARGIN = 1


@contextmanager
def start_reads(bench: Bench) -> Iterator[dict[str, Run]]:
    disk_bench, memory_bench = bench.in_folder("reads-disk"), bench.in_folder("reads-memory")
    with (
        soloist_server(disk_bench, data=disk_bench.scratch / "soloist.data") as (durable, durable_address),
        soloist_server(memory_bench, name="Soloist, in memory,") as (volatile, volatile_address),
    ):
        servers = (
            ("durable", disk_bench, durable, durable_address),
            ("memory", memory_bench, volatile, volatile_address),
        )
        for _, side_bench, _, address in servers:
            preload(side_bench, address)
        yield {
            f"{kind}, {load}": reads_during_writes(side_bench, server, address, f"{kind}, {load}:", flags)
            for load, flags in WRITERS.items()
            for kind, side_bench, server, address in servers
        }


def reads_during_writes(bench: Bench, server: Server, address: str, name: str, writer_flags: str) -> Run:
    """soloist-load reads the keys "0" to "4", which were written long ago, while h2load writes the key "written"."""

    def run(seconds: float) -> Figures:
        duration = milliseconds(seconds + 2 * WARM_UP + WRITERS_MARGIN)
        write = h2load_flags(
            bench, address, "soloist.v1.State/Write", write_request("written"), f"{writer_flags} -D {duration}"
        )

        def read() -> Figures:
            with bench.background(f"{name} writers", h2load_program(), *write) as writers:
                time.sleep(WARM_UP)
                before, began = soloist_revision(address), time.monotonic()
                report = load_without_misses(bench, f"{name} readers", address, *READERS.split(), *time_flags(seconds))
                rate = (soloist_revision(address) - before) / (time.monotonic() - began)
                if writers.poll() is not None:
                    raise BenchError(f"{name}: the writers ended before the readers; is the machine very busy?")
            if rate == 0:
                raise BenchError(f"{name}: nothing was written while the readers ran")
            return {**latencies(report, "read"), "writes/s": rate}

        return with_cpu_times(server, read)

    return run


READS = Section(
    "reads",
    "p99 of 8 readers while another key is written, durable; the same with the store in memory",
    start_reads,
    [
        Row(
            "p99 paced",
            f"{PACED_RATE:,} Writes a second on both sides",
            ("durable, paced", "p99 us"),
            ("memory, paced", "p99 us"),
            "≤",
            2.0,
        ),
        Row(
            "p99 busy",
            "110 Writes at once on both sides; the store in memory answers more of them",
            ("durable, busy", "p99 us"),
            ("memory, busy", "p99 us"),
            "≤",
            2.0,
        ),
    ],
)
