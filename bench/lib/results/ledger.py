"""The ledger that keeps results."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from lib.host.console import report
from lib.host.paths import ROOT
from lib.measure.model import Result
from lib.results.facts import command_line
from lib.results.tables import Table, commands, markdown

LEDGER = ROOT / "bench" / "RESULTS.md"


HEAD = """\
# Results

What the scripts of this folder measured with `--write`, newest first; [README.md](README.md) tells how. Compare ratios,
not figures of different machines or days.
"""


def entry(title: str, results: list[Result], told: list[str], failures: list[str], tables: dict[str, Table]) -> str:
    """One entry of the ledger. The tables have the name of what stands above them."""
    lines = [*told, f"Command: `{command_line()}`", *(f"Did not run: {failure}" for failure in failures)]
    return "\n".join(
        [
            f"## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {title}",
            "",
            *(f"- {line}" for line in lines),
            "",
            *(line for above, table in tables.items() for line in (*([above, ""] if above else []), markdown(table), "")),
            "```sh",
            commands(results),
            "```",
            "",
        ]
    )


def write_ledger(text: str) -> None:
    earlier = LEDGER.read_text() if LEDGER.exists() else ""
    first = re.search(r"^## ", earlier, re.MULTILINE)
    head, entries = (earlier[: first.start()], earlier[first.start() :]) if first else (earlier, "")
    ledger = LEDGER.with_suffix(".new")
    ledger.write_text(f"{(head or HEAD).rstrip()}\n\n{text}{f'{chr(10)}{entries}' if entries else ''}")
    ledger.replace(LEDGER)
    report(f"written to {LEDGER.relative_to(ROOT)}")
