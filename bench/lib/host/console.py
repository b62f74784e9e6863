"""What the scripts say while they work."""

from __future__ import annotations

import sys
from pathlib import Path

# The name of the script, as it is called.
PROGRAM = f"bench/{Path(sys.argv[0]).name}"


def report(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)
