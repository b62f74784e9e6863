"""Latency of Writes while a snapshot is made, beside Writes without one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures, quantile
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill
from lib.systems.h2load import h2load_flags, h2load_program
from lib.systems.load import KEY_NAMES, ONE_CONNECTION, WARM_UP
from lib.systems.soloist import VALUE_BYTES, logged_events, soloist_server, write_request

# The server makes a snapshot when its log has grown by so much, and by as much as the state takes.
SNAPSHOT_LOG_BYTES = 64 << 20
# In seconds, after a snapshot. The server shortens its log then, so these Writes count as neither during nor without one.
AFTERMATH = 1.0
# In seconds.
SNAPSHOT_TIMEOUT = 120.0
SNAPSHOT_POLL_INTERVAL = 0.1
# In seconds: longer than any run. Such a client is stopped at the end of the run.
UNTIL_STOPPED = 3_600
# Fewer Writes have no p99 worth the name.
WRITES_MIN = 100
# How h2load's log marks a call that was under way when h2load was stopped.
UNFINISHED = ("-1", "0")

# Beginning and end, in seconds since 1970.
Span = tuple[float, float]


@dataclass(frozen=True)
class TimedWrite:
    # In seconds since 1970.
    sent: float
    latency_us: float


@contextmanager
def start_snapshot(bench: Bench) -> Iterator[dict[str, Run]]:
    own = bench.in_folder("snapshot")
    flags = ("--snapshot-log-bytes", str(SNAPSHOT_LOG_BYTES))
    with soloist_server(own, *flags, data=own.scratch / "soloist.data") as (server, address):
        # `str` gives keys the names that soloist-load gives them with KEY_NAMES.
        fill(address, str, own.key_count)
        yield {
            "light": writes_during_snapshot(own, server, address, "light", 4, "-c 1 -m 200 --rps 1000"),
            "busy": writes_during_snapshot(own, server, address, "busy", 100, "-c 1 -m 10"),
        }


def writes_during_snapshot(bench: Bench, server: Server, address: str, name: str, writers: int, probe: str) -> Run:
    """Latencies of h2load's Writes, of which it logs each, during and without a snapshot.

    soloist-load writes any of the keys meanwhile, so that a snapshot in the making has old values to keep. Another writer
    sends frames of 64, so that the log grows until a snapshot is due.
    """
    program = bench.binaries["soloist-load"]

    def any_key(engine: str) -> list[str]:
        flags = f"--engine {engine} --readers 0 --keys {bench.key_count} --value-size {VALUE_BYTES} {ONE_CONNECTION} -q"
        return [address, *flags.split(), KEY_NAMES, "-z", f"{UNTIL_STOPPED}s"]

    def run(seconds: float) -> Figures:
        log = bench.scratch / "times"
        log.unlink(missing_ok=True)
        flags = f"{probe} --log-file={log.name} -D {UNTIL_STOPPED}s"
        probe_words = h2load_flags(bench, address, "soloist.v1.State/Write", write_request("written"), flags)

        def write() -> Figures:
            with (
                bench.background(f"{name}: growth", program, *any_key("pipeline --frame-ops 64 --writers 1")) as growth,
                bench.background(f"{name}: writers", program, *any_key(f"unary --writers {writers}")) as others,
                bench.background(f"{name}: probe", h2load_program(), *probe_words) as timer,
            ):
                began = time.time() + WARM_UP
                snapshots = wait_for_snapshots(server, began, seconds, [growth, others, timer])
                time.sleep(AFTERMATH)
            return latency_figures(read_probe_log(log), began, snapshots)

        return with_cpu_times(server, write)

    return run


def wait_for_snapshots(server: Server, began: float, seconds: float, clients: list[subprocess.Popen[bytes]]) -> list[Span]:
    """Waits for a snapshot that began under load, and for as many `seconds` without one. Returns all snapshots."""
    deadline = time.monotonic() + SNAPSHOT_TIMEOUT
    while time.monotonic() < deadline:
        time.sleep(SNAPSHOT_POLL_INTERVAL)
        snapshots = [span for span in snapshot_spans(server.log) if span[1] > began]
        if any(start > began for start, _ in snapshots) and seconds_without(began, snapshots) >= seconds:
            return snapshots
        if server.process.poll() is not None or any(client.poll() is not None for client in clients):
            raise BenchError("the server or a client ended before there was a snapshot")
    raise BenchError(
        f"no snapshot, or less than {seconds:g} s without one, within {SNAPSHOT_TIMEOUT:.0f} s; see the server's log"
    )


def snapshot_spans(log: Path) -> list[Span]:
    """The span of each snapshot that the server has logged."""
    spans = []
    for end, fields in logged_events(log, "made a snapshot"):
        start = end - timedelta(milliseconds=int(fields["took_ms"]))
        spans.append((start.timestamp(), end.timestamp()))
    return spans


def seconds_without(began: float, snapshots: list[Span]) -> float:
    """The time without a snapshot or its aftermath, up to the end of the last one."""
    total, since = 0.0, began
    for start, end in snapshots:
        total += max(0.0, start - since)
        since = end + AFTERMATH
    return total


def read_probe_log(log: Path) -> list[TimedWrite]:
    """h2load logs when it sent a call (microseconds since 1970), its HTTP status, and microseconds until its end."""
    lines = (line.split("\t") for line in log.read_text().splitlines())
    calls = [(int(words[0]), words[1], int(words[2])) for words in lines if len(words) == 3 and words[2].isdecimal()]
    failed = sum(status != "200" and status not in UNFINISHED for _, status, _ in calls)
    if failed:
        raise BenchError(f"{failed} of {len(calls)} Writes failed")
    return [TimedWrite(sent / 1e6, latency) for sent, status, latency in calls if status == "200"]


def latency_figures(writes: list[TimedWrite], began: float, snapshots: list[Span]) -> Figures:
    during, after, without = split_by_snapshot(writes, began, snapshots)
    if min(len(during), len(after), len(without)) < WRITES_MIN:
        counts = f"{len(during)} during a snapshot, {len(after)} right after, {len(without)} without"
        raise BenchError(f"too few Writes to tell their p99: {counts}; raise --keys or --seconds")
    figures: Figures = {
        "snapshots": len(snapshots),
        "snapshot s": median(end - start for start, end in snapshots),
        "during": len(during),
        "without": len(without),
    }
    for when, values in (("during", during), ("after", after), ("without", without)):
        figures[f"{when} p50 us"] = quantile(values, 0.5)
        figures[f"{when} p99 us"] = quantile(values, 0.99)
        figures[f"{when} max us"] = max(values)
    return figures


def split_by_snapshot(
    writes: list[TimedWrite], began: float, snapshots: list[Span]
) -> tuple[list[float], list[float], list[float]]:
    """Latencies during snapshots, in their aftermath, and without one. A Write that overlaps a snapshot is during it."""
    during, after, without = [], [], []
    for write in writes:
        start, end = write.sent, write.sent + write.latency_us / 1e6
        if start < began or end > snapshots[-1][1] + AFTERMATH:
            continue
        if any(start <= last and end >= first for first, last in snapshots):
            during.append(write.latency_us)
        elif any(last < start <= last + AFTERMATH for _, last in snapshots):
            after.append(write.latency_us)
        else:
            without.append(write.latency_us)
    return during, after, without


SNAPSHOT = Section(
    "snapshot",
    "p99 of Writes while a snapshot is made, and without one",
    start_snapshot,
    [
        Row(
            "p99 light",
            "1,000 Writes a second are timed, beside 4 writers and one writer of frames, all on any key",
            ("light", "during p99 us"),
            ("light", "without p99 us"),
            "≤",
            2.0,
        ),
        Row(
            "p99 busy",
            "10 Writes at once are timed, beside 100 writers and one writer of frames, all on any key",
            ("busy", "during p99 us"),
            ("busy", "without p99 us"),
            "≤",
            2.0,
        ),
        Row(
            "after, light", "in the second after a snapshot", ("light", "after p99 us"), ("light", "without p99 us"), "≤", None
        ),
        Row("after, busy", "in the second after a snapshot", ("busy", "after p99 us"), ("busy", "without p99 us"), "≤", None),
    ],
)
