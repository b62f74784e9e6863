"""Writes while a snapshot is made, beside Writes without one."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from lib.host.errors import Failed
from lib.host.processes import Bench, Server
from lib.measure.cpu import watched
from lib.measure.figures import Figures, quantile
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill
from lib.systems.h2load import h2load_flags, h2load_program
from lib.systems.load import ONE, WARM_UP
from lib.systems.soloist import VALUE_BYTES, said_in_log, soloist, soloist_write

# A snapshot is due when the log has grown by so much, and by as much as the state takes.
SNAPSHOT_LOG_BYTES = 64 << 20
# Seconds after a snapshot that are neither "during" nor "without": then the log is pruned.
AFTERMATH = 1.0
SNAPSHOT_TIMEOUT = 120.0
# Longer than any run, in seconds: who starts such a client also ends it.
UNTIL_STOPPED = 3_600
Span = tuple[float, float]


@dataclass(frozen=True)
class Timed:
    """A Write: when it was sent, and how long the answer took."""

    start: float
    us: float


def snapshot_spans(log: Path) -> list[Span]:
    """From when to when each was made, in seconds since 1970."""
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    spans = []
    for when, fields in said_in_log(log, "made a snapshot"):
        took = re.fullmatch(r"([\d.]+)(ns|µs|ms|s)", fields["took"])
        if took is None:
            raise Failed(f"cannot read how long a snapshot took: {fields['took']}")
        spans.append(((when - timedelta(seconds=float(took[1]) * units[took[2]])).timestamp(), when.timestamp()))
    return spans


def calm_seconds(began: float, spans: list[Span]) -> float:
    """Time without a snapshot, up to the end of the last one."""
    calm, since = 0.0, began
    for start, end in spans:
        calm += max(0.0, start - since)
        since = end + AFTERMATH
    return calm


def wait_for_snapshot(server: Server, began: float, seconds: float, clients: list[subprocess.Popen[bytes]]) -> list[Span]:
    """Until there was one that began under load, and as much time without one as was asked for."""
    deadline = time.monotonic() + SNAPSHOT_TIMEOUT
    while time.monotonic() < deadline:
        time.sleep(0.1)
        spans = [span for span in snapshot_spans(server.log) if span[1] > began]
        if any(start > began for start, _ in spans) and calm_seconds(began, spans) >= seconds:
            return spans
        if server.process.poll() is not None or any(client.poll() is not None for client in clients):
            raise Failed("a server or client ended before there was a snapshot")
    raise Failed(f"no snapshot, or too little time without one, within {SNAPSHOT_TIMEOUT:.0f} s; the server's log has more")


def split(timed: list[Timed], began: float, spans: list[Span]) -> tuple[list[float], list[float], list[float]]:
    """Latencies during snapshots, in their aftermath, and without one. What a snapshot touches is during it."""
    during, after, without = [], [], []
    for write in timed:
        start, end = write.start, write.start + write.us / 1e6
        if start < began or end > spans[-1][1] + AFTERMATH:
            continue
        if any(start <= last and end >= first for first, last in spans):
            during.append(write.us)
        elif any(last < start <= last + AFTERMATH for _, last in spans):
            after.append(write.us)
        else:
            without.append(write.us)
    return during, after, without


def writes_during(bench: Bench, server: Server, address: str, name: str, writers: int, probe: str) -> Run:
    """soloist-load writes any of the keys, so that a snapshot in the making has values to keep; h2load keeps the time of
    each of its own Writes. One more writer has frames of 64, so that the log grows until a snapshot is due."""
    program = bench.binaries["soloist-load"]

    def keys(engine: str) -> list[str]:
        flags = f"--engine {engine} --readers 0 --keys {bench.key_count} --value-size {VALUE_BYTES} {ONE} -q"
        return [address, *flags.split(), "-z", f"{UNTIL_STOPPED}s"]

    def run(seconds: float) -> Figures:
        times = bench.scratch / "times"
        times.unlink(missing_ok=True)
        flags = f"{probe} --log-file={times.name} -D {UNTIL_STOPPED}s"
        probing = h2load_flags(bench, address, "soloist.v1.State/Write", soloist_write("written"), flags)

        def write() -> Figures:
            with (
                bench.background(f"{name}: growth", program, *keys("pipeline --frame-ops 64 --writers 1")) as growth,
                bench.background(f"{name}: writers", program, *keys(f"unary --writers {writers}")) as others,
                bench.background(f"{name}: probe", h2load_program(), *probing) as timer,
            ):
                began = time.time() + WARM_UP
                spans = wait_for_snapshot(server, began, seconds, [growth, others, timer])
                time.sleep(AFTERMATH)
            during, after, without = split(read_times(times), began, spans)
            if min(len(during), len(after), len(without)) < 100:
                counts = f"{len(during)} during a snapshot, {len(after)} right after, {len(without)} without"
                raise Failed(f"too few Writes to tell their p99: {counts}; give more --keys or --seconds")
            figures = {
                "snapshots": len(spans),
                "snapshot s": median(end - start for start, end in spans),
                "during": len(during),
                "without": len(without),
            }
            for what, values in (("during", during), ("after", after), ("without", without)):
                quantiles = {"p50": quantile(values, 0.5), "p99": quantile(values, 0.99), "max": max(values)}
                figures |= {f"{what} {name} us": value for name, value in quantiles.items()}
            return figures

        return watched(server, write)

    return run


def read_times(log: Path) -> list[Timed]:
    """h2load's log: when sent (us since 1970), status, and us until the end of the answer."""
    lines = (line.split("\t") for line in log.read_text().splitlines())
    timed = [(int(words[0]), words[1], int(words[2])) for words in lines if len(words) == 3 and words[2].isdecimal()]
    refused = sum(status not in ("200", "-1", "0") for _, status, _ in timed)
    if refused:
        raise Failed(f"{refused} of {len(timed)} Writes did not succeed")
    # Those that were under way when h2load was ended have no 200.
    return [Timed(start / 1e6, us) for start, status, us in timed if status == "200"]


@contextmanager
def snapshot(bench: Bench) -> Iterator[dict[str, Run]]:
    at = bench.at("snapshot")
    with soloist(at, "--snapshot-log-bytes", str(SNAPSHOT_LOG_BYTES), data=at.scratch / "soloist.data") as (server, address):
        # By the names that soloist-load gives its keys.
        fill(address, str, at.key_count, 1)
        yield {
            "light": writes_during(at, server, address, "light", 4, "-c 1 -m 200 --rps 1000"),
            "busy": writes_during(at, server, address, "busy", 100, "-c 1 -m 10"),
        }


SNAPSHOT = Section(
    "snapshot",
    "p99 of Writes while a snapshot is made; without one",
    snapshot,
    [
        Row(
            "p99 light",
            "4 writers and one of frames on any key, and 1,000 Writes a second, which are timed",
            ("light", "during p99 us"),
            ("light", "without p99 us"),
            "≤",
            2.0,
        ),
        Row(
            "p99 busy",
            "100 writers and one of frames on any key, and 10 at once, which are timed",
            ("busy", "during p99 us"),
            ("busy", "without p99 us"),
            "≤",
            2.0,
        ),
        Row("after, light", "the second after it", ("light", "after p99 us"), ("light", "without p99 us"), "≤", None),
        Row("after, busy", "the second after it", ("busy", "after p99 us"), ("busy", "without p99 us"), "≤", None),
    ],
)
