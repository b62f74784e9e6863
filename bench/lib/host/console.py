"""Progress and errors on standard error; results go to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

# The running script, as a user types it.
PROGRAM = f"bench/{Path(sys.argv[0]).name}"


def print_status(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)
