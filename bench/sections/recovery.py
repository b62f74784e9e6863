"""The time until a durable server serves again after SIGKILL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill, key_of_16_bytes
from lib.systems.soloist import last_logged_event, soloist_server

# In seconds.
START_MAX = 3.0
# How often each key is written.
PASSES = {"filled": 1, "rewritten": 2}


@contextmanager
def start_recovery(bench: Bench) -> Iterator[dict[str, Run]]:
    own = bench.in_folder("recovery")
    for name, passes in PASSES.items():
        with soloist_server(own, data=own.scratch / name) as (server, address):
            fill(address, key_of_16_bytes, own.key_count, passes)
            server.process.kill()
            server.process.wait()
    yield {
        f"{name}{', cold' if cold else ''}": start_again(own, own.scratch / name, cold)
        for name in PASSES
        for cold in (False, True)
    }


def start_again(bench: Bench, data: Path, cold: bool) -> Run:
    def run(_seconds: float) -> Figures:
        if cold:
            drop_from_page_cache(data)
        began = time.monotonic()
        with soloist_server(bench, data=data) as (server, _):
            took = time.monotonic() - began
            opened = last_logged_event(server.log, "opened")
            server.process.kill()
            server.process.wait()
        if opened["keys"] < bench.key_count:
            raise BenchError(f"after a start the server has {opened['keys']:,} of {bench.key_count:,} keys")
        return {"start s": took, "records": opened["records"], "keys": opened["keys"], "MB": folder_bytes(data) / 1e6}

    return run


def drop_from_page_cache(folder: Path) -> None:
    """Leaves the files on disk only, as after a boot."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


RECOVERY = Section(
    "recovery",
    "seconds from exec to `listening on` after SIGKILL; a million keys of 16 bytes, values of 100 bytes",
    start_recovery,
    [
        Row("filled", "every key written once, in Batches of 1,000", ("filled", "start s"), None, "≤", START_MAX),
        Row("rewritten", "every key written twice", ("rewritten", "start s"), None, "≤", START_MAX),
        Row("filled, cold", "as `filled`, with nothing in the page cache", ("filled, cold", "start s"), None, "≤", None),
        Row(
            "rewritten, cold", "as `rewritten`, with nothing in the page cache", ("rewritten, cold", "start s"), None, "≤", None
        ),
    ],
)
