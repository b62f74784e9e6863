"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.host.console import PROGRAM
from lib.host.processes import Bench
from lib.host.programs import output_of


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
