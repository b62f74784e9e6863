"""What differs between the scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.measure.model import Result, Section
from lib.results.tables import Table, rows_table


@dataclass(frozen=True)
class Script:
    # The docstring of the script: its help.
    doc: str
    sections: list[Section]
    # The title of its entries in the ledger.
    title: str
    # The name and version of its JSON.
    schema: str
    # The flag that chooses sections.
    sections_flag: str = "--only"
    # Whether the flag --svg is offered: whether the picture shows sections of this script.
    draws: bool = False
    # The tables of an entry in the ledger, by their caption. The first one is also printed.
    tables: Callable[[list[Result]], dict[str, Table]] = lambda results: {"": rows_table(results)}
    # Leaves out commands that the ledger does not need.
    for_ledger: Callable[[Result], Result] = lambda result: result
    # What the JSON has besides rows and runs.
    more_json: Callable[[list[Result]], dict[str, Any]] = lambda _results: {}
    # What --keys sets, and its default. None: the script has no such flag.
    keys_help: str | None = "keys of the sections memory, recovery and snapshot"
    key_count: int = 1_000_000
    # The default of --seconds.
    seconds: float = 5.0
