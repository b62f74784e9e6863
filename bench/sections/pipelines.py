"""Streams of frames beside Valkey with pipelining."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.processes import Bench
from lib.measure.model import Row, Run, Section
from lib.systems.load import FRAMES_OF_64, FRAMES_OF_ONE, READERS, WORKERS, operations, preload
from lib.systems.soloist import soloist
from lib.systems.valkey import valkey, valkey_reads


@contextmanager
def frames_of_one(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (ours, address), valkey(bench) as (peer, port):
        preload(bench, address)
        yield {
            "Soloist": operations(bench, ours, address, "Soloist", f"{FRAMES_OF_ONE} {READERS} {WORKERS}"),
            "Valkey -P 16": valkey_reads(bench, peer, port, "Valkey -P 16", f"-c {WORKERS} -P 16"),
        }


@contextmanager
def frames_of_64(bench: Bench) -> Iterator[dict[str, Run]]:
    with soloist(bench) as (ours, address), valkey(bench) as (peer, port):
        preload(bench, address)
        yield {
            "Soloist": operations(bench, ours, address, "Soloist", f"{FRAMES_OF_64} {READERS} 8"),
            "Valkey -P 64": valkey_reads(bench, peer, port, "Valkey -P 64", "-c 8 -P 64"),
            "Valkey -P 1024": valkey_reads(bench, peer, port, "Valkey -P 1024", "-c 8 -P 1024"),
        }


PIPELINE_16 = Section(
    "pipeline-16",
    "Read by 110 streams, 16 frames of 1 in flight: the server's CPU time",
    frames_of_one,
    [Row("frames of 1 : Valkey", "GET by 110, -P 16", ("Soloist", "server us/op"), ("Valkey -P 16", "server us/op"), "≤", 0.4)],
)


PIPELINE_64 = Section(
    "pipeline-64",
    "Read by 8 streams, 16 frames of 64 in flight: the server's CPU time",
    frames_of_64,
    [
        Row(
            "frames of 64 : Valkey", "GET by 8, -P 64", ("Soloist", "server us/op"), ("Valkey -P 64", "server us/op"), "≤", 0.08
        ),
        Row(
            "the same, as many in flight",
            "GET by 8, -P 1024",
            ("Soloist", "server us/op"),
            ("Valkey -P 1024", "server us/op"),
            "≤",
            None,
        ),
    ],
)
