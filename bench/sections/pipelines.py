"""Streams of frames beside Valkey with pipelining."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.load import FRAMES_OF_1, FRAMES_OF_64, WORKERS, load_by_count, preload, reader_flags
from lib.systems.soloist import soloist_server
from lib.systems.valkey import valkey_gets, valkey_server

STREAMS_OF_64 = 8


@contextmanager
def start_frames_of_1(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address), valkey_server(bench) as (valkey, port):
        preload(bench, address)
        yield {
            "Soloist": load_by_count(bench, server, address, "Soloist", f"{FRAMES_OF_1} {reader_flags(WORKERS)}"),
            "Valkey -P 16": valkey_gets(bench, valkey, port, "Valkey -P 16", f"-c {WORKERS} -P 16"),
        }


@contextmanager
def start_frames_of_64(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist_server(bench) as (server, address), valkey_server(bench) as (valkey, port):
        preload(bench, address)
        yield {
            "Soloist": load_by_count(bench, server, address, "Soloist", f"{FRAMES_OF_64} {reader_flags(STREAMS_OF_64)}"),
            "Valkey -P 64": valkey_gets(bench, valkey, port, "Valkey -P 64", f"-c {STREAMS_OF_64} -P 64"),
            "Valkey -P 1024": valkey_gets(bench, valkey, port, "Valkey -P 1024", f"-c {STREAMS_OF_64} -P 1024"),
        }


PIPELINE_16 = Section(
    "pipeline-16",
    "Reads by 110 streams, each with 16 frames of one Read in flight: the server's CPU time for each Read",
    start_frames_of_1,
    [
        Row(
            "frames of 1 : Valkey",
            "GETs by 110 clients, each with 16 in flight",
            ("Soloist", "server us/op"),
            ("Valkey -P 16", "server us/op"),
            "≤",
            0.4,
        )
    ],
)

PIPELINE_64 = Section(
    "pipeline-64",
    "Reads by 8 streams, each with 16 frames of 64 Reads in flight: the server's CPU time for each Read",
    start_frames_of_64,
    [
        Row(
            "frames of 64 : Valkey",
            "GETs by 8 clients, each with 64 in flight",
            ("Soloist", "server us/op"),
            ("Valkey -P 64", "server us/op"),
            "≤",
            0.08,
        ),
        Row(
            "the same, as many in flight",
            "GETs by 8 clients, each with 1,024 in flight: as many as Soloist's streams",
            ("Soloist", "server us/op"),
            ("Valkey -P 1024", "server us/op"),
            "≤",
            None,
        ),
    ],
)
