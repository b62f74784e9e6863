"""What differs between the scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.measure.model import Result, Section
from lib.results.tables import Table, every_run, summary


def rows_and_runs(results: list[Result]) -> dict[str, Table]:
    return {"": summary(results), "Every run:": every_run(results)}


@dataclass(frozen=True)
class Script:
    """What differs between the scripts."""

    doc: str
    sections: list[Section]
    # Of an entry in the ledger, after the time.
    title: str
    # Of the JSON, with its version.
    schema: str
    # The flag that chooses among the sections.
    only: str = "--only"
    # What --write draws, once everything was measured.
    picture: Path | None = None
    # What becomes of the results in the ledger, by what stands above it. The first also goes to the terminal.
    tables: Callable[[list[Result]], dict[str, Table]] = rows_and_runs
    # What the JSON has besides rows and runs.
    more: Callable[[list[Result]], dict[str, Any]] = lambda _results: {}
    # What --keys is, and what it is without the flag. None: there is no such flag.
    keys: str | None = "keys of memory, recovery and snapshot"
    key_count: int = 1_000_000
    seconds: float = 5.0
