"""The facts that a reader needs beside a result: commit, binaries, machine, disk, runs, peers and command.

No fact names a path of the machine.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from lib.host.disk import disk_of
from lib.host.processes import Bench
from lib.host.programs import CARGO_PROFILE, output_or_empty

# Labels and texts, in the order in which they are shown.
Facts = dict[str, str]


def measurement_facts(bench: Bench, given_binaries: bool, runs: str, versions: list[str], command: str) -> Facts:
    """`runs` says how many rounds of how many seconds, `versions` are those of the peers, `command` repeats the measurement."""
    placement = "servers on one core, clients on another" if bench.pinned else "nothing pinned"
    facts = {
        "Commit": commit(),
        "Binaries": "given by --bin-dir" if given_binaries else f"cargo build --profile {CARGO_PROFILE}, {rustc_version()}",
        "Machine": machine(),
        "Disk": str(disk_of(bench.scratch)),
        "Runs": f"{runs}; {placement}",
    }
    if versions:
        facts["Peers"] = "; ".join(versions)
    return {**facts, "Command": f"`{command}`"}


def commit() -> str:
    head = output_or_empty("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    # The results of an earlier run change nothing that is measured.
    changes = output_or_empty("git", "status", "--porcelain", "--", ".", ":!bench/RESULTS.md", ":!bench/results.svg")
    return f"{head} with changes not committed" if changes else head


def rustc_version() -> str:
    return output_or_empty("rustc", "--version")


def machine() -> str:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
