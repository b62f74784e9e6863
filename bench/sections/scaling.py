"""What an operation costs, and what takes memory, when there is more and more of something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lib.host.processes import Bench, Server
from lib.measure.curve import Curve, side
from lib.measure.figures import Figures
from lib.measure.memory import SETTLE, remembered
from lib.measure.model import Run
from lib.measure.rounds import by_count
from lib.systems.fill import fill_ints, fill_long_names
from lib.systems.idle_watches import idle_watches
from lib.systems.load import FRAMES_OF_64, KEYS, WORKERS, load, load_all, preload
from lib.systems.soloist import soloist

CALLS = "--engine raw --seed 1 -t 1"
FRAMES = f"{FRAMES_OF_64} --connections 1 --seed 1 -t 1"
# Keys take more than the default, a GiB, when there are many.
ROOMY = ("--max-store-bytes", str(1 << 40))
# As many may wait for the owner as are sent at once: what is measured is not how it refuses.
PATIENT = ("--mailbox-messages", "20000")
# A call at a time is slow by the clock, so a run begins with few.
FIRST = 2_000
# Calls that share the connections.
SHARED_CALLS = 1_000
# Of which none has more than 256.
FEWEST_SHARED = 4
# Calls with large values under way: so many of the largest are a MiB.
LARGE_CALLS = 16


def up_to(most: int, *counts: int) -> list[int]:
    """Those below, and the last."""
    return [*(count for count in counts if count < most), most]


def sizes(bench: Bench, *counts: int) -> list[int]:
    """A quick bench leaves out the largest: does it work?"""
    return list(counts[:-1] if bench.quick else counts)


def counted(bench: Bench, server: Server, address: str, name: str, flags: str) -> Run:
    """A known number of operations by soloist-load."""

    def run(count: int) -> Figures:
        def drive() -> Figures:
            answer = load_all(bench, name, address, *flags.split(), "-n", str(count))
            return {"operations": answer["completed"], "ops/s": answer["ops_per_second"]}

        return remembered(server, drive)

    return by_count(run, FIRST)


# A point of its own, with a server of its own: the series by name, and the flags of their clients.
Flags = dict[str, str]


@contextmanager
def points(
    bench: Bench,
    xs: Sequence[int],
    clients: Callable[[int], Flags],
    *server_flags: str,
    prepare: Callable[[Bench, str, int], None] = lambda bench, address, _x: preload(bench, address),
) -> Iterator[dict[str, Run]]:
    """A server for each x, so that memory is that of one point. All stay, and take turns."""
    with ExitStack() as stack:
        runs: dict[str, dict[str, Run]] = {}
        for x in xs:
            at = bench.at(str(x))
            server, address = stack.enter_context(soloist(at, *server_flags))
            prepare(at, address, x)
            for series, flags in clients(x).items():
                name = side(series, x)
                runs.setdefault(series, {})[name] = counted(at, server, address, name, flags)
        yield {name: run for of_series in runs.values() for name, run in of_series.items()}


@contextmanager
def keys(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Flags:
        return {
            "Read, calls": f"{CALLS} --connections 1 --readers {WORKERS} --writers 0 --keys {count}",
            "Read, frames of 64": f"{FRAMES} --readers 8 --writers 0 --keys {count}",
            "Write, frames of 64": f"{FRAMES} --readers 0 --writers 8 --keys {count}",
        }

    xs = up_to(bench.key_count, KEYS, 1_000, 100_000, 1_000_000)
    with points(bench, xs, clients, *ROOMY, prepare=fill_ints) as runs:
        yield runs


@contextmanager
def memory(bench: Bench) -> Iterator[dict[str, Run]]:
    xs = up_to(bench.key_count, KEYS, 1_000, 100_000, 1_000_000)

    def of(series: str, fill: Callable[[Bench, str, int, int], None]) -> Iterator[tuple[str, Run]]:
        """One server is filled more and more, and another in the next round."""
        with ExitStack() as kept:
            current: list[tuple[Server, str, int]] = []

            def point(before: int, count: int) -> Figures:
                if not current or before == 0:
                    kept.close()
                    server, address = kept.enter_context(soloist(bench.at(series), *ROOMY))
                    current[:] = [(server, address, server.resident_bytes())]
                server, address, empty = current[0]
                fill(bench.at(series), address, before, count)
                time.sleep(SETTLE)
                used = server.resident_bytes()
                return {"MB": used / 1e6, "bytes each": (used - empty) / count}

            for before, count in zip([0, *xs], xs, strict=False):
                yield side(series, count), lambda _seconds, before=before, count=count: point(before, count)  # type: ignore[misc]

    def ints(at: Bench, address: str, _before: int, count: int) -> None:
        fill_ints(at, address, count)

    def texts(_at: Bench, address: str, before: int, count: int) -> None:
        fill_long_names(address, before, count)

    yield {**dict(of("keys of 16 bytes, values of 100", texts)), **dict(of("short keys, small ints", ints))}


@contextmanager
def calls(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Flags:
        return {"Read": f"{CALLS} --readers {count} --writers 0"}

    with points(bench, sizes(bench, 1, 10, 100, 1_000, 10_000), clients, *PATIENT) as runs:
        yield runs


@contextmanager
def streams(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Flags:
        return {"Read, a frame of 1 on each": f"--engine pipeline --seed 1 -t 1 --readers {count} --writers 0"}

    with points(bench, sizes(bench, 1, 10, 100, 1_000, 10_000), clients, *PATIENT) as runs:
        yield runs


@contextmanager
def connections(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(count: int) -> Flags:
        flags = {"Read, a call on each": f"{CALLS} --readers {count} --writers 0 --connections {count}"}
        if count >= FEWEST_SHARED:
            flags["Read, 1,000 calls on all"] = f"{CALLS} --readers {SHARED_CALLS} --writers 0 --connections {count}"
        return flags

    with points(bench, sizes(bench, 1, 10, 100, 1_000), clients) as runs:
        yield runs


@contextmanager
def idle_watchers(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(_count: int) -> Flags:
        return {
            "Write, calls": f"{CALLS} --connections 1 --readers 0 --writers {WORKERS}",
            "Write, frames of 64": f"{FRAMES} --readers 0 --writers 8",
        }

    with ExitStack() as watching:

        def prepare(at: Bench, address: str, count: int) -> None:
            preload(at, address)
            watching.enter_context(idle_watches(address, count))

        with points(bench, sizes(bench, 0, 100, 1_000, 10_000), clients, prepare=prepare) as runs:
            yield runs
            # Before their servers.
            watching.close()


@contextmanager
def watchers(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (server, address):

        def watched_writes(name: str, count: int, writers: int) -> Run:
            # Operations are events, and so many Writes cause them.
            def run(events: int) -> Figures:
                def drive() -> Figures:
                    writes = max(1, events // count)
                    shape = f"--workload watch --watchers {count} -c {writers} --keys 1 --engine pipeline --seed 1 -t 1"
                    answer = load(bench, name, address, *shape.split(), "-n", str(writes))
                    shown = answer["kinds"]["event"]["completed"]
                    return {"operations": shown, "ops/s": shown / answer["elapsed_seconds"]}

                return remembered(server, drive)

            return by_count(run, FIRST)

        yield {
            side(series, count): watched_writes(side(series, count), count, writers)
            for series, writers in (("an event, 1 Write at a time", 1), ("an event, 16 Writes at a time", 16))
            for count in sizes(bench, 1, 10, 100, 1_000)
        }


@contextmanager
def value_size(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(size: int) -> Flags:
        values = f"{CALLS} --connections 1 --value text --value-size {size}"
        return {
            "Read, calls": f"{values} --readers {LARGE_CALLS} --writers 0",
            "Write, calls": f"{values} --readers 0 --writers {LARGE_CALLS}",
        }

    def prepare(at: Bench, address: str, size: int) -> None:
        load(at, "preload", address, *clients(size)["Write, calls"].split(), "-n", "1000")

    with points(bench, sizes(bench, 8, 64, 512, 4 << 10, 16 << 10, 64 << 10), clients, prepare=prepare) as runs:
        yield runs


@contextmanager
def frame_size(bench: Bench) -> Iterator[dict[str, Run]]:
    def clients(size: int) -> Flags:
        frames = f"--engine pipeline -P 16 --frame-ops {size} --connections 1 --seed 1 -t 1"
        return {"Read": f"{frames} --readers 8 --writers 0", "Write": f"{frames} --readers 0 --writers 8"}

    with points(bench, sizes(bench, 1, 4, 16, 64, 256, 512), clients) as runs:
        yield runs


CURVES = [
    Curve("keys", "Reads and Writes of any key; Writes of small ints", keys, axis="keys"),
    Curve("memory", "resident memory after the fill", memory, axis="keys", figure="MB"),
    Curve("calls", "calls under way, 256 on a connection", calls, axis="calls"),
    Curve("streams", "Pipeline streams, 256 on a connection", streams, axis="streams"),
    Curve("connections", "connections, with a call under way on each and with 1,000 on all", connections, axis="connections"),
    Curve("idle-watchers", "Writes while other keys are watched", idle_watchers, axis="watchers"),
    Curve("watchers", "what it costs to show a Write to one of those who watch its key", watchers, axis="watchers"),
    Curve("value-size", "Reads and Writes of texts, 16 calls at once", value_size, axis="bytes"),
    Curve("frame-size", "operations in frames, 8 streams with 16 frames each in flight", frame_size, axis="operations"),
]
