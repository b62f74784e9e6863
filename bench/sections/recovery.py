"""The time to serve again after SIGKILL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host.errors import Failed
from lib.host.processes import Bench
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill, long_name
from lib.systems.soloist import said_in_log, soloist

MAX_RECOVERY = 3.0


def forget_pages(folder: Path) -> None:
    """Takes the files out of the page cache, as after a boot."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def recovery_of(bench: Bench, data: Path, cold: bool) -> Run:
    def run(_seconds: float) -> Figures:
        if cold:
            forget_pages(data)
        began = time.monotonic()
        # Its address is looked for every 20 ms.
        with soloist(bench, data=data) as (server, _):
            took = time.monotonic() - began
            _, opened = said_in_log(server.log, "opened")[-1]
            server.process.kill()
            server.process.wait()
        if opened["keys"] < bench.key_count:
            raise Failed(f"{opened['keys']:,} of {bench.key_count:,} keys are there after a start")
        return {"start s": took, "records": opened["records"], "keys": opened["keys"], "MB": size_mb(data)}

    return run


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


@contextmanager
def recovery(bench: Bench) -> Iterator[dict[str, Run]]:
    at = bench.at("recovery")
    folders = {"filled": 1, "rewritten": 2}
    for name, passes in folders.items():
        with soloist(at, data=at.scratch / name) as (server, address):
            fill(address, long_name, at.key_count, passes)
            server.process.kill()
            server.process.wait()
    yield {
        f"{name}{', cold' if cold else ''}": recovery_of(at, at.scratch / name, cold)
        for name in folders
        for cold in (False, True)
    }


RECOVERY = Section(
    "recovery",
    "from exec to `listening on` after SIGKILL, keys of 16 bytes, values of 100",
    recovery,
    [
        Row("filled", "every key written once, in Batches of 1,000", ("filled", "start s"), None, "≤", MAX_RECOVERY),
        Row("rewritten", "every key written twice", ("rewritten", "start s"), None, "≤", MAX_RECOVERY),
        Row("filled, cold", "not in the page cache", ("filled, cold", "start s"), None, "≤", None),
        Row("rewritten, cold", "not in the page cache", ("rewritten, cold", "start s"), None, "≤", None),
    ],
)
