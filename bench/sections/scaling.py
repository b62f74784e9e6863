"""Growth of CPU time and memory with keys, calls, streams, connections, watchers, and the size of values and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lib.host.processes import Bench, Server
from lib.measure.curve import Curve, point_name
from lib.measure.figures import Figures
from lib.measure.memory import with_cpu_times_and_memory
from lib.measure.model import Run
from lib.measure.rounds import sized_by_pilots
from lib.systems.fill import fill_ints, key_counts
from lib.systems.idle_watches import idle_watches
from lib.systems.load import FRAMES_OF_64, WORKERS, load, load_without_misses, preload, throughput
from lib.systems.soloist import LARGE_STORE, soloist_server

CALLS = "--engine raw --seed 1 -t 1"
FRAMES = f"{FRAMES_OF_64} --connections 1 --seed 1 -t 1"
STREAMS = "--engine pipeline --seed 1 -t 1"
# As many messages may wait for the owner as are sent at once, so that the server refuses none.
LARGE_MAILBOX = ("--mailbox-messages", "20000")
# One call at a time takes long, so the first pilot is short.
FIRST_PILOT = 2_000
# Calls that share all connections, and the fewest connections that can carry them at 256 each.
SHARED_CALLS = 1_000
SHARED_CONNECTIONS_MIN = 4
# Calls with large values at once: 16 of the largest are a MiB.
LARGE_CALLS = 16

# The flags of soloist-load, by series.
Clients = dict[str, str]


def without_largest_if_quick(bench: Bench, *xs: int) -> list[int]:
    return list(xs[:-1] if bench.quick else xs)


@contextmanager
def points(
    bench: Bench,
    xs: Sequence[int],
    clients: Callable[[int], Clients],
    *server_flags: str,
    prepare: Callable[[Bench, str, int], None] = lambda bench, address, _x: preload(bench, address),
) -> Iterator[dict[str, Run]]:
    """The sides of a curve. Each x has a server of its own, so that its memory is that of one point."""
    with ExitStack() as servers:
        by_series: dict[str, dict[str, Run]] = {}
        for x in xs:
            own = bench.in_folder(str(x))
            server, address = servers.enter_context(soloist_server(own, *server_flags))
            prepare(own, address, x)
            for series, flags in clients(x).items():
                name = point_name(series, x)
                by_series.setdefault(series, {})[name] = load_run(own, server, address, name, flags)
        yield {name: run for runs in by_series.values() for name, run in runs.items()}


def load_run(bench: Bench, server: Server, address: str, name: str, flags: str) -> Run:
    def run_count(count: int) -> Figures:
        words = [*flags.split(), "-n", str(count)]
        return with_cpu_times_and_memory(server, lambda: throughput(load_without_misses(bench, name, address, *words)))

    return sized_by_pilots(run_count, FIRST_PILOT)


# --- Keys --------------------------------------------------------------------------------------------------------------


@contextmanager
def start_keys(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Clients:
        return {
            "Read, calls": f"{CALLS} --connections 1 --readers {WORKERS} --writers 0 --keys {count}",
            "Read, frames of 64": f"{FRAMES} --readers 8 --writers 0 --keys {count}",
            "Write, frames of 64": f"{FRAMES} --readers 0 --writers 8 --keys {count}",
        }

    with points(bench, key_counts(bench), clients, *LARGE_STORE, prepare=fill_ints) as runs:
        yield runs


# --- Calls, streams, connections ---------------------------------------------------------------------------------------


@contextmanager
def start_calls(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Clients:
        return {"Read": f"{CALLS} --readers {count} --writers 0"}

    xs = without_largest_if_quick(bench, 1, 10, 100, 1_000, 10_000)
    with points(bench, xs, clients, *LARGE_MAILBOX) as runs:
        yield runs


@contextmanager
def start_streams(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Clients:
        return {"Read, a frame of 1 on each": f"{STREAMS} --readers {count} --writers 0"}

    xs = without_largest_if_quick(bench, 1, 10, 100, 1_000, 10_000)
    with points(bench, xs, clients, *LARGE_MAILBOX) as runs:
        yield runs


@contextmanager
def start_connections(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Clients:
        series = {"Read, a call on each": f"{CALLS} --readers {count} --writers 0 --connections {count}"}
        if count >= SHARED_CONNECTIONS_MIN:
            series["Read, 1,000 calls on all"] = f"{CALLS} --readers {SHARED_CALLS} --writers 0 --connections {count}"
        return series

    with points(bench, without_largest_if_quick(bench, 1, 10, 100, 1_000), clients) as runs:
        yield runs


# --- Watches -----------------------------------------------------------------------------------------------------------


@contextmanager
def start_idle_watchers(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(_count: int) -> Clients:
        return {
            "Write, calls": f"{CALLS} --connections 1 --readers 0 --writers {WORKERS}",
            "Write, frames of 64": f"{FRAMES} --readers 0 --writers 8",
        }

    with ExitStack() as watches:

        def prepare(own: Bench, address: str, count: int) -> None:
            preload(own, address)
            watches.enter_context(idle_watches(address, count))

        xs = without_largest_if_quick(bench, 0, 100, 1_000, 10_000)
        with points(bench, xs, clients, prepare=prepare) as runs:
            yield runs
            # While their servers still run: idle_watches checks that all are still open.
            watches.close()


@contextmanager
def start_watchers(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address):
        yield {
            point_name(series, count): watched_writes(bench, server, address, point_name(series, count), count, writers)
            for series, writers in (("an event, 1 Write at a time", 1), ("an event, 16 Writes at a time", 16))
            for count in without_largest_if_quick(bench, 1, 10, 100, 1_000)
        }


def watched_writes(bench: Bench, server: Server, address: str, name: str, watchers: int, writers: int) -> Run:
    """Counts events as operations: each Write causes one event for each watcher."""
    shape = f"--workload watch --watchers {watchers} -c {writers} --keys 1 --engine pipeline --seed 1 -t 1"

    def run_count(events: int) -> Figures:
        def write() -> Figures:
            writes = max(1, events // watchers)
            report = load(bench, name, address, *shape.split(), "-n", str(writes))
            received = report["kinds"]["event"]["completed"]
            return {"operations": received, "ops/s": received / report["elapsed_seconds"]}

        return with_cpu_times_and_memory(server, write)

    return sized_by_pilots(run_count, FIRST_PILOT)


# --- Sizes -------------------------------------------------------------------------------------------------------------


@contextmanager
def start_value_size(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(size: int) -> Clients:
        values = f"{CALLS} --connections 1 --value text --value-size {size}"
        return {
            "Read, calls": f"{values} --readers {LARGE_CALLS} --writers 0",
            "Write, calls": f"{values} --readers 0 --writers {LARGE_CALLS}",
        }

    def prepare(own: Bench, address: str, size: int) -> None:
        load(own, "preload", address, *clients(size)["Write, calls"].split(), "-n", "1000")

    xs = without_largest_if_quick(bench, 8, 64, 512, 4 << 10, 16 << 10, 64 << 10)
    with points(bench, xs, clients, prepare=prepare) as runs:
        yield runs


@contextmanager
def start_frame_size(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(size: int) -> Clients:
        frames = f"--engine pipeline -P 16 --frame-ops {size} --connections 1 --seed 1 -t 1"
        return {"Read": f"{frames} --readers 8 --writers 0", "Write": f"{frames} --readers 0 --writers 8"}

    with points(bench, without_largest_if_quick(bench, 1, 4, 16, 64, 256, 512), clients) as runs:
        yield runs


CURVES = [
    Curve("keys", "Reads of any key; Writes of small ints to any key", start_keys, axis="keys"),
    Curve("calls", "Reads by calls, up to 256 of them on a connection", start_calls, axis="calls"),
    Curve("streams", "Reads by Pipeline streams, up to 256 of them on a connection", start_streams, axis="streams"),
    Curve("connections", "Reads with a call on each connection, and with 1,000 on all", start_connections, axis="connections"),
    Curve("idle-watchers", "Writes while other keys are watched", start_idle_watchers, axis="watchers"),
    Curve("watchers", "Writes of a watched key: the cost of each event", start_watchers, axis="watchers"),
    Curve("value-size", "Reads and Writes of texts, 16 calls at once", start_value_size, axis="bytes"),
    Curve("frame-size", "operations in frames, 8 streams with 16 frames each in flight", start_frame_size, axis="operations"),
]
