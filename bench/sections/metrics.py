"""What metrics cost: calls and frames of a server that counts, beside one that does not; and what scrapes cost others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.measure.cpu import with_cpu_times
from lib.measure.figures import Figures
from lib.measure.model import Row, Run, Section
from lib.systems.fill import fill_ints
from lib.systems.idle_watches import idle_watches
from lib.systems.load import FRAMES_OF_1, FRAMES_OF_64, WORKERS, load_by_count, preload, reader_flags
from lib.systems.soloist import LARGE_STORE, http_address, soloist_server
from sections.fairness import MODEST_RATE, modest_client

SHAPES = {
    "calls": f"--engine raw {reader_flags(WORKERS)}",
    "frames": f"{FRAMES_OF_1} {reader_flags(WORKERS)}",
    "frames of 64": f"{FRAMES_OF_64} {reader_flags(8)}",
}
HTTP_LISTEN = ("--http-listen", "127.0.0.1:0")
# The store whose metrics are scraped, and how often: ten times as often as a Prometheus with a short interval.
KEY_COUNT = 1_000_000
WATCH_COUNT = 10_000
SCRAPES_PER_SECOND = 10
SCRAPER = Path(__file__).resolve().parents[1] / "lib" / "systems" / "scrapes.py"
BESIDE = f"beside {SCRAPES_PER_SECOND} scrapes a second"


@contextmanager
def start_metrics(bench: Bench) -> Iterator[dict[str, Run]]:
    counting_bench = bench.in_folder("metrics")
    with (
        soloist_server(bench, name="without metrics") as (without, without_address),
        soloist_server(counting_bench, *HTTP_LISTEN, name="with metrics") as (counting, counting_address),
    ):
        sides = (
            ("without", bench, without, without_address),
            ("with metrics", counting_bench, counting, counting_address),
        )
        for _name, side_bench, _server, address in sides:
            preload(side_bench, address)
        yield {
            f"{shape}, {name}": load_by_count(side_bench, server, address, f"{shape}, {name}", flags)
            for shape, flags in SHAPES.items()
            for name, side_bench, server, address in sides
        }


@contextmanager
def start_scrapes(bench: Bench) -> Iterator[dict[str, Run]]:
    with ExitStack() as stack:
        server, address = stack.enter_context(soloist_server(bench, *LARGE_STORE, *HTTP_LISTEN))
        fill_ints(bench, address, bench.scaled(KEY_COUNT))
        stack.enter_context(idle_watches(address, bench.scaled(WATCH_COUNT)))
        url = f"http://{server.when_ready(lambda: http_address(server.log))}/metrics"

        def alone(seconds: float) -> Figures:
            return with_cpu_times(server, lambda: modest_client(bench, server, address, "alone", seconds))

        def beside(seconds: float) -> Figures:
            words = ["-B", str(SCRAPER), url, str(SCRAPES_PER_SECOND)]
            with bench.background("scrapes", Path(sys.executable), *words):
                figures = with_cpu_times(server, lambda: modest_client(bench, server, address, BESIDE, seconds))
            scrapes = (bench.scratch / "scrapes.client.log").read_text().count(".")
            if not scrapes:
                raise BenchError("nobody scraped beside the modest client")
            return {**figures, "scrapes": scrapes}

        yield {"alone": alone, BESIDE: beside}


def metrics_rows() -> Iterator[Row]:
    descriptions = {
        "calls": "unary Reads, 110 at once on one connection",
        "frames": "Reads by 110 streams, each with 16 frames of one Read in flight",
        "frames of 64": "Reads by 8 streams, each with 16 frames of 64 Reads in flight",
    }
    for shape, description in descriptions.items():
        measured, baseline = ((f"{shape}, {side}", "server us/op") for side in ("with metrics", "without"))
        yield Row(f"{shape}, with metrics", description, measured, baseline, "≤", 1.02)


def scrapes_rows() -> Iterator[Row]:
    at = f"latency at {MODEST_RATE:,} Reads a second"
    yield Row("p99", at, (BESIDE, "p99 us"), ("alone", "p99 us"), "≤", 1.1)
    worked = ((BESIDE, "worked p99 us"), ("alone", "worked p99 us"))
    yield Row("server's time", "CPU time of the server during a call, p99", *worked, "≤", None)
    good = ((BESIDE, "good ops/s"), ("alone", "good ops/s"))
    yield Row("good", "Reads answered OK in time, per second", *good, "≥", 0.99)


METRICS = Section(
    "metrics",
    "Reads of a server with --http-listen beside Reads of one without: the server's CPU time for each",
    start_metrics,
    list(metrics_rows()),
)

SCRAPES = Section(
    "scrapes",
    f"a modest client beside {SCRAPES_PER_SECOND} scrapes a second, with a million keys and {WATCH_COUNT:,} watches",
    start_scrapes,
    list(scrapes_rows()),
)
