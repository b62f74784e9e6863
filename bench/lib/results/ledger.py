"""The ledger bench/RESULTS.md: the newest results of each section.

The ledger is Markdown. Its preamble is prose and belongs to its authors. Below it are entries, newest first, each of one
run of a script: a heading with time and title, facts as a list, tables whose first column is the section, and the commands
by section. A new entry takes its sections out of the older ones of the same processor: ratios differ between processors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.paths import LEDGER
from lib.results.facts import Facts
from lib.results.tables import Table, markdown

HEADING = re.compile(r"^## (\d{4}-\d\d-\d\d \d\d:\d\d UTC), (.+)$")
COMMANDS_BEGIN, COMMANDS_END = "```sh", "```"


@dataclass(frozen=True)
class Entry:
    # As in `2026-11-24 03:39 UTC`.
    time: str
    title: str
    facts: Facts
    # By their caption, which may be empty.
    tables: dict[str, Table]
    # The text of each section.
    commands: dict[str, str]

    @property
    def processor(self) -> str:
        """As in `AMD EPYC`, out of `AMD EPYC, 2 cores, Linux 6.18`."""
        return self.facts.get("Machine", "").partition(",")[0]

    @property
    def sections(self) -> set[str]:
        return {line[0] for table in self.tables.values() for line in table[1:]}

    def without(self, sections: set[str]) -> Entry:
        kept = {
            caption: [table[0], *(line for line in table[1:] if line[0] not in sections)]
            for caption, table in self.tables.items()
        }
        commands = {section: text for section, text in self.commands.items() if section not in sections}
        return replace(self, tables={caption: table for caption, table in kept.items() if len(table) > 1}, commands=commands)

    def __str__(self) -> str:
        lines = [f"## {self.time}, {self.title}", ""]
        lines += [f"- {label}: {text}" for label, text in self.facts.items()]
        for caption, table in self.tables.items():
            lines += ["", *([caption, ""] if caption else []), markdown(table)]
        if self.commands:
            lines += ["", COMMANDS_BEGIN, "\n\n".join(self.commands.values()), COMMANDS_END]
        return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Ledger:
    preamble: str
    # Newest first.
    entries: list[Entry]

    def with_entry(self, new: Entry) -> Ledger:
        older = (
            entry.without(new.sections) if entry.processor == new.processor else entry for entry in self.entries
        )
        return Ledger(self.preamble, [new, *(entry for entry in older if entry.tables)])

    def __str__(self) -> str:
        return "\n".join([self.preamble.rstrip() + "\n", *map(str, self.entries)])


def read_ledger(path: Path = LEDGER) -> Ledger:
    lines = path.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if HEADING.match(line)]
    ends = [*starts[1:], len(lines)]
    preamble = "\n".join(lines[: starts[0]] if starts else lines)
    return Ledger(preamble, [read_entry(lines, start, end) for start, end in zip(starts, ends, strict=True)])


def write_ledger(ledger: Ledger, path: Path = LEDGER) -> None:
    written = path.with_suffix(".new")
    written.write_text(str(ledger))
    written.replace(path)


def read_entry(lines: list[str], start: int, end: int) -> Entry:
    heading = HEADING.match(lines[start])
    assert heading is not None
    facts: Facts = {}
    tables: dict[str, Table] = {}
    commands: dict[str, str] = {}
    caption = ""
    remaining = iter(range(start + 1, end))
    for number in remaining:
        line = lines[number]
        if line.startswith("- ") and ": " in line:
            label, _, text = line.removeprefix("- ").partition(": ")
            facts[label] = text
        elif line.startswith("| "):
            tables.setdefault(caption, []).append(line.removeprefix("| ").removesuffix(" |").split(" | "))
        elif line.endswith(":"):
            caption = line
        elif line == COMMANDS_BEGIN:
            commands = read_commands(lines[number] for number in remaining)
        elif line:
            raise BenchError(f"line {number + 1} of the ledger is neither a fact, a table nor a caption: {line!r}")
    # The line of dashes below the heading.
    tables = {caption: [table[0], *table[2:]] for caption, table in tables.items()}
    return Entry(heading[1], heading[2], facts, tables, commands)


def read_commands(lines: Iterator[str]) -> dict[str, str]:
    """The text of each section, up to the end of the block."""
    texts: dict[str, list[str]] = {}
    section = ""
    for line in lines:
        if line == COMMANDS_END:
            break
        if line.startswith("### "):
            section = line.removeprefix("### ").partition(":")[0]
            texts[section] = []
        texts[section].append(line)
    return {section: "\n".join(text).rstrip() for section, text in texts.items()}
