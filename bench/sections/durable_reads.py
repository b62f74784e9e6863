"""Reads of settled keys while others are written durably."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.h2load import h2load_flags, h2load_program
from lib.systems.load import KEYS, ONE, WARM_UP, load_all, load_figures, preload, timed
from lib.systems.soloist import soloist, soloist_revision, soloist_write

# What h2load may leave unanswered at its fixed rate before it waits: 5 connections, 200 calls each.
PACED = "-c 5 -m 200 --rps"
PACED_RATE = 5_000
BUSY = "-c 10 -m 11"
SETTLED = f"--engine unary --readers 8 --writers 0 --keys {KEYS} {ONE}"


def reads_beside(bench: Bench, server: Server, address: str, name: str, flags: str) -> Run:
    """soloist-load reads "0" to "4" while h2load writes "written": what is read is settled for long."""

    def run(seconds: float) -> Figures:
        # The writers are there before the readers, and until they are done.
        lasting = f"{flags} -D {round((seconds + 2 * WARM_UP + 1) * 1000)}ms"
        writing = h2load_flags(bench, address, "soloist.v1.State/Write", soloist_write("written"), lasting)

        def read() -> Figures:
            with bench.background(f"{name} writers", h2load_program(), *writing) as writer:
                time.sleep(WARM_UP)
                before, began = soloist_revision(address), time.monotonic()
                answer = load_all(bench, f"{name} readers", address, *SETTLED.split(), *timed(seconds))
                rate = (soloist_revision(address) - before) / (time.monotonic() - began)
                if writer.poll() is not None:
                    raise Failed(f"{name}: the writers ended before the readers did; is the machine very busy?")
            if rate == 0:
                raise Failed(f"{name}: nothing was written meanwhile")
            return {**load_figures(answer, "read"), "writes/s": rate}

        return watched(server, read)

    return run


@contextmanager
def reads(bench: Bench) -> Iterator[dict[str, Run]]:
    on_disk, in_memory = bench.at("reads-disk"), bench.at("reads-memory")
    with (
        soloist(on_disk, data=on_disk.scratch / "soloist.data") as durable,
        soloist(in_memory, name="Soloist, in memory,") as volatile,
    ):
        sides = {"durable": (on_disk, *durable), "memory": (in_memory, *volatile)}
        for at, _, address in sides.values():
            preload(at, address)
        loads = {"paced": f"{PACED} {PACED_RATE // 5}", "busy": BUSY}
        yield {
            f"{side}, {load_name}": reads_beside(*of_side, f"{side}, {load_name}:", flags)
            for load_name, flags in loads.items()
            for side, of_side in sides.items()
        }


READS = Section(
    "reads",
    "p99 of 8 readers of settled keys while another key is written; the same with the store in memory",
    reads,
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
            "110 Writes at once on both sides, so that there are more of them in memory",
            ("durable, busy", "p99 us"),
            ("memory, busy", "p99 us"),
            "≤",
            2.0,
        ),
    ],
)
