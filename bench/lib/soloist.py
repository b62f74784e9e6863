"""Soloist's server and its load generator, as the benches use them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.measuring import Figures, Run, by_count, watched
from lib.running import Bench, Failed, Server

# As many as the seed has.
KEYS = 5
# As many as the seed has workers.
WORKERS = 110
# Time of a run by the clock that does not count.
WARM_UP = 0.5
# One connection and one thread: all that one core can use.
ONE = "--connections 1 -t 1 --seed 1"


@contextmanager
def soloist(bench: Bench, *flags: str, data: Path | None = None, name: str = "Soloist") -> Iterator[tuple[Server, str]]:
    """A server, and its address. With `data` it keeps its state there, otherwise in memory alone."""
    words = "--listen 127.0.0.1:0 --log-format json".split()
    if bench.pinned:
        # All that one core can use.
        words += ["--threads", "1"]
    if data is not None:
        words += ["--data-dir", str(data), "--durability", "sync"]
    with bench.server(name, bench.binaries["soloist-server"], *words, *flags) as server:
        yield server, server.when_ready(lambda: listening(server.log))


def listening(log: Path) -> str | None:
    found = re.search(r"^listening on (\S+)\n", log.read_text(), re.MULTILINE)
    return found[1] if found else None


def said_in_log(log: Path, what: str) -> list[tuple[datetime, dict[str, Any]]]:
    """When a message that begins so was logged, and with what."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}"))
    return [
        (datetime.fromisoformat(line["timestamp"]), line["fields"])
        for line in lines
        if line["fields"].get("message", "").startswith(what)
    ]


def preload(bench: Bench, address: str, keys: int = KEYS) -> None:
    """Writes each of a few keys, so that Reads find them."""
    words = f"--readers 0 --writers 1 -n 1000 --keys {keys} --key-dist sequential -q".split()
    bench.client("preload", bench.binaries["soloist-load"], address, *words)


def load(bench: Bench, name: str, *flags: str, pinned: bool = True) -> dict[str, Any]:
    """soloist-load, and its report. Nothing may have failed."""
    output = bench.scratch / "report.json"
    words = f"-q -O json -o {output.name}".split()
    bench.client(name, bench.binaries["soloist-load"], *flags, *words, pinned=pinned)
    answer: dict[str, Any] = json.loads(output.read_text())
    output.unlink()
    if answer["failed"] or not answer["completed"]:
        raise Failed(f"soloist-load: completed {answer['completed']}, failed {answer['failed']}")
    return answer


def load_all(bench: Bench, name: str, *flags: str) -> dict[str, Any]:
    """The same, and every Read has to find its key."""
    answer = load(bench, name, *flags)
    if answer["read_misses"]:
        raise Failed(f"soloist-load: {answer['read_misses']} reads found no key, and all should be there")
    return answer


def timed(seconds: float) -> list[str]:
    """Flags of a run by the clock."""
    return ["-z", f"{round(seconds * 1000)}ms", "--warmup", f"{round(WARM_UP * 1000)}ms"]


def load_figures(answer: dict[str, Any], kind: str) -> Figures:
    latency = answer["latency"][kind]["response"]
    quantiles = {f"{name} us": latency[f"{name}_us"] for name in ("p50", "p99", "p99.9", "max")}
    return {"ops/s": answer["ops_per_second"], **quantiles}


def operations(bench: Bench, server: Server, address: str, name: str, flags: str) -> Run:
    """A known number of operations, for the CPU time of each."""
    def run(count: int) -> Figures:
        def drive() -> Figures:
            answer = load_all(bench, name, address, *flags.split(), *ONE.split(), "-n", str(count))
            return {"operations": answer["completed"], "ops/s": answer["ops_per_second"]}

        return watched(server, drive)

    return by_count(run)
