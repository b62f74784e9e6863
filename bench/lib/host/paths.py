"""Paths in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LEDGER = ROOT / "bench" / "RESULTS.md"
PICTURE = ROOT / "bench" / "results.svg"
GOROUTINES_SOURCE = ROOT / "bench" / "goroutines" / "main.go"
# The Python environment that `./test --tools` makes.
TEST_TOOLS = ROOT / ".tools"
# The Python environment with the peers' programs, which the benches make.
BENCH_TOOLS = ROOT / "target" / "bench-tools"
