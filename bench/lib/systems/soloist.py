"""Soloist's server, and the calls of it that the benches make themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.host.processes import Bench, Server
from lib.systems.calls import call
from lib.systems.protobuf import sized


@contextmanager
def soloist(bench: Bench, *flags: str, data: Path | None = None, name: str = "Soloist") -> Iterator[tuple[Server, str]]:
    """A server, and its address. With `data` it keeps its state there, otherwise in memory alone."""
    words = ["--listen", "127.0.0.1:0", "--log-format", "json"]
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


# Of everything that all sides write, where it is not said otherwise.
VALUE_BYTES = 100


def soloist_read(key: str) -> bytes:
    """soloist.v1.ReadRequest."""
    return sized(1, key.encode())


def soloist_write(key: str) -> bytes:
    """soloist.v1.WriteRequest with a text."""
    return sized(1, key.encode()) + sized(4, sized(2, b"x" * VALUE_BYTES))


def soloist_info(address: str) -> dict[int, Any]:
    return call(address, "/soloist.v1.Admin/GetInfo")


def soloist_revision(address: str) -> int:
    return int(soloist_info(address).get(3, 0))


def soloist_keys(address: str) -> int:
    return int(soloist_info(address).get(6, 0))
