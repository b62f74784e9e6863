"""The figures of the ledger's rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lib.host.errors import BenchError
from lib.results.ledger import Entry, Ledger

# The two columns of a row that hold a figure.
Column = Literal["measured", "compared with"]
FIGURE = re.compile(r"^(?P<side>.+): (?:.* )?(?P<value>[\d,.]+) (?P<unit>\S+)$")


@dataclass(frozen=True)
class LedgerFigure:
    """A figure as the ledger shows it, as in `Valkey: server 9.297 us/op`, and the entry that has it."""

    side: str
    value: float
    unit: str
    entry: Entry


def ledger_figure(ledger: Ledger, section: str, row: str, column: Column) -> LedgerFigure | None:
    """The figure of a row in a column; None if the ledger has no such row."""
    for entry in ledger.entries:
        for table in entry.tables.values():
            if column not in table[0]:
                continue
            for line in table[1:]:
                if line[:2] == [section, row]:
                    return read_figure(line[table[0].index(column)], entry)
    return None


def read_figure(cell: str, entry: Entry) -> LedgerFigure:
    figure = FIGURE.match(cell)
    if figure is None:
        raise BenchError(f"a row of the ledger has no figure: {cell!r}")
    return LedgerFigure(figure["side"], float(figure["value"].replace(",", "")), figure["unit"], entry)
