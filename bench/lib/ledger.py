"""Where and with what something was measured, and the ledger that keeps it."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from lib.measuring import Result, Row
from lib.running import PROGRAM, ROOT, Bench, Failed, report
from lib.tables import Table, commands, markdown

LEDGER = ROOT / "bench" / "RESULTS.md"
HEAD = """\
# Results

What the scripts of this folder measured with `--write`, newest first; [README.md](README.md) tells how. Compare ratios,
not figures of different machines or days.
"""


@dataclass(frozen=True)
class Disk:
    """The file system that a folder is on."""

    kind: str
    device: str
    options: str
    mount_point: str

    def __str__(self) -> str:
        return f"{self.kind} on {self.device}, mounted at {self.mount_point} ({self.options})"


def disk_of(folder: Path) -> Disk:
    number = folder.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    found = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = (part.split() for part in line.split(" - ", 1))
        if before[2] != device or not folder.is_relative_to(before[4]):
            continue
        # Of several mounts of one device, that through which the folder is reached.
        if found is None or len(before[4]) > len(found.mount_point):
            found = Disk(after[0], after[1], f"{before[5]}; {after[2]}", before[4])
    if found is None:
        raise Failed(f"cannot tell the file system of {folder}: give another --dir")
    if found.kind in ("tmpfs", "ramfs"):
        raise Failed(f"{folder} is on {found.kind}, which is no disk: give another --dir")
    return found


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def command_line() -> str:
    return shlex.join([PROGRAM, *sys.argv[1:]])


def facts(bench: Bench, runs: str, versions: Sequence[str]) -> list[str]:
    """What has to be known of a measurement. `runs` is how many of what; `versions` are those of the peers."""
    commit = output_of("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    if output_of("git", "status", "--porcelain", "--", ".", ":!bench/RESULTS.md", ":!bench/results.svg"):
        commit += " with changes not committed"
    binaries = f"binaries of {bench.bin_dir}" if bench.bin_dir else f"cargo build --release, {output_of('rustc', '--version')}"
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    place = "servers on one core, clients on another" if bench.pinned else "nothing pinned"
    found = [
        f"Commit: {commit}; {binaries}",
        f"Machine: {model[1] if model else platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"Runs: {runs}; {place}",
    ]
    return [*found, f"Beside: {'; '.join(filter(None, versions))}"] if versions else found


def entry(title: str, results: list[Result], told: list[str], failures: list[str], tables: dict[str, Table]) -> str:
    """One entry of the ledger. The tables have the name of what stands above them."""
    lines = [*told, f"Command: `{command_line()}`", *(f"Did not run: {failure}" for failure in failures)]
    return "\n".join([
        f"## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {title}",
        "",
        *(f"- {line}" for line in lines),
        "",
        *(line for above, table in tables.items() for line in (*([above, ""] if above else []), markdown(table), "")),
        "```sh",
        commands(results),
        "```",
        "",
    ])


def write_ledger(text: str) -> None:
    earlier = LEDGER.read_text() if LEDGER.exists() else ""
    first = re.search(r"^## ", earlier, re.MULTILINE)
    head, entries = (earlier[: first.start()], earlier[first.start() :]) if first else (earlier, "")
    ledger = LEDGER.with_suffix(".new")
    ledger.write_text(f"{(head or HEAD).rstrip()}\n\n{text}{f'{chr(10)}{entries}' if entries else ''}")
    ledger.replace(LEDGER)
    report(f"written to {LEDGER.relative_to(ROOT)}")


def as_json(schema: str, results: list[Result], told: list[str], failures: list[str]) -> dict[str, Any]:
    def of_row(result: Result, row: Row) -> dict[str, Any]:
        return {
            "section": result.section.name,
            "row": row.name,
            "what": row.what,
            "ours": {"side": row.ours[0], "figure": row.ours[1], "median": median(result.of(row.ours))},
            "peer": row.peer and {"side": row.peer[0], "figure": row.peer[1], "median": median(result.of(row.peer))},
            "ratio": result.ratio(row),
            "bound": row.bound,
            "goal": row.goal,
            "reached": result.reached(row),
        }

    return {
        "schema": schema,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "facts": told,
        "rows": [of_row(result, row) for result in results for row in result.section.rows],
        "rounds": {result.section.name: result.rounds for result in results},
        "others_cores": {result.section.name: result.others for result in results},
        "commands": {result.section.name: result.commands for result in results},
        "did_not_run": failures,
    }
