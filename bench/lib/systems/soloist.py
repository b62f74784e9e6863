"""Soloist's server, and the few calls of it that the benches make themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.systems.grpc_calls import call
from lib.systems.protobuf import length_delimited

# The size of values in all systems, where a section does not choose another.
VALUE_BYTES = 100
# For stores of any number of keys: the default is a GiB of keys and values.
LARGE_STORE = ("--max-store-bytes", str(1 << 40))
# Fields of soloist.v1.Info.
INFO_REVISION, INFO_KEY_COUNT, INFO_WATCH_COUNT = 3, 6, 12


@contextmanager
def soloist_server(bench: Bench, *flags: str, data: Path | None = None, name: str = "Soloist") -> Iterator[tuple[Server, str]]:
    """A running server and its address. With `data` it is durable in that folder (mode sync), otherwise in memory only."""
    words = ["--listen", "127.0.0.1:0", "--log-format", "json"]
    if bench.pinned:
        # One core has no use for more.
        words += ["--threads", "1"]
    if data is not None:
        words += ["--data-dir", str(data), "--durability", "sync"]
    with bench.server(name, bench.binaries["soloist-server"], *words, *flags) as server:
        yield server, server.when_ready(lambda: listening_address(server.log))


def listening_address(log: Path) -> str | None:
    found = re.search(r"^listening on (\S+)\n", log.read_text(), re.MULTILINE)
    return found[1] if found else None


def http_address(log: Path) -> str | None:
    """The address of --http-listen."""
    found = re.search(r"listening for HTTP on (127\.0\.0\.1:\d+)", log.read_text())
    return found[1] if found else None


def logged_events(log: Path, message: str) -> list[tuple[datetime, dict[str, Any]]]:
    """The time and fields of each logged event whose message begins with `message`."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}"))
    return [
        (datetime.fromisoformat(line["timestamp"]), line["fields"])
        for line in lines
        if line["fields"].get("message", "").startswith(message)
    ]


def last_logged_event(log: Path, message: str) -> dict[str, Any]:
    """The fields of the newest of these events."""
    events = logged_events(log, message)
    if not events:
        raise BenchError(f"the server's log has no message that begins with {message!r}")
    return events[-1][1]


def read_request(key: str) -> bytes:
    """A soloist.v1.ReadRequest."""
    return length_delimited(1, key.encode())


def write_request(key: str) -> bytes:
    """A soloist.v1.WriteRequest with a text of VALUE_BYTES."""
    return length_delimited(1, key.encode()) + length_delimited(4, length_delimited(2, b"x" * VALUE_BYTES))


def soloist_info(address: str) -> dict[int, Any]:
    """The fields of soloist.v1.Info, by number."""
    return call(address, "/soloist.v1.Admin/GetInfo")


def soloist_revision(address: str) -> int:
    return int(soloist_info(address).get(INFO_REVISION, 0))


def soloist_key_count(address: str) -> int:
    return int(soloist_info(address).get(INFO_KEY_COUNT, 0))
