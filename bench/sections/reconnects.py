"""A modest client while others connect again, a thousand at once, as after a restart or a change of certificates."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench, Server
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.certificates import Certificates, https, make_certificates
from lib.systems.load import preload
from lib.systems.open_loop import WARM_UP
from lib.systems.soloist import soloist_server
from sections.fairness import MODEST_RATE, modest_client

RECONNECTS = 1_000
PROGRAM = Path(__file__).resolve().parents[1] / "lib" / "systems" / "reconnects.py"
# How many handshakes were made so far.
Handshakes = Callable[[], int]
BESIDE = f"beside {RECONNECTS:,} reconnects"


@contextmanager
def start_reconnects(bench: Bench) -> Iterator[dict[str, Run]]:
    certificates = make_certificates(bench.scratch)
    with soloist_server(bench, *certificates.mutual_flags) as (server, address):
        preload(bench, https(address), flags=" ".join(certificates.mutual_client_flags))

        def alone(seconds: float) -> Figures:
            return with_cpu_times(server, lambda: modest(bench, server, address, certificates, "alone", seconds))

        def beside(seconds: float) -> Figures:
            with reconnecting(bench, address) as handshakes:
                began = time.monotonic()
                figures = with_cpu_times(server, lambda: modest(bench, server, address, certificates, BESIDE, seconds))
                per_second = handshakes() / (time.monotonic() - began)
                if not per_second:
                    raise BenchError("nobody connected beside the modest client")
                return {**figures, "handshakes/s": per_second}

        yield {"alone": alone, BESIDE: beside}


def modest(bench: Bench, server: Server, address: str, certificates: Certificates, name: str, seconds: float) -> Figures:
    """The modest client of the section fairness, over TLS and with a certificate."""
    flags = " ".join(certificates.mutual_client_flags)
    return modest_client(bench, server, https(address), name, seconds, flags, certificates.client_context())


@contextmanager
def reconnecting(bench: Bench, address: str) -> Iterator[Handshakes]:
    """Connects again and again during the block, once the modest client is connected: before its figures count."""
    port = address.rpartition(":")[2]
    log = bench.scratch / "reconnects.client.log"
    words = [str(PROGRAM), port, str(RECONNECTS), str(bench.scratch), str(WARM_UP)]
    with bench.background("reconnects", Path(sys.executable), "-B", *words):
        yield lambda: log.read_text().count(".")


def rows() -> Iterator[Row]:
    at = f"latency at {MODEST_RATE:,} Reads a second, over TLS with client certificates"
    yield Row("p99", at, (BESIDE, "p99 us"), ("alone", "p99 us"), "≤", 3.0)
    worked = ((BESIDE, "worked p99 us"), ("alone", "worked p99 us"))
    yield Row("server's time", "CPU time of the server during a call, p99", *worked, "≤", None)
    yield Row("good", "Reads answered OK in time, per second", (BESIDE, "good ops/s"), ("alone", "good ops/s"), "≥", 0.99)
    yield Row("reconnects", "TLS handshakes with client certificates, per second", (BESIDE, "handshakes/s"), None, "≥", None)


RECONNECT = Section(
    "reconnects",
    f"a modest client, with {MODEST_RATE:,} Reads a second over TLS, beside waves of {RECONNECTS:,} reconnects with certificates",
    start_reconnects,
    list(rows()),
)
