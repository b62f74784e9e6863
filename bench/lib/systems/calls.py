"""Calls by grpcio, which is in .tools: `with_tools` goes on under the Python there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.host.paths import ROOT
from lib.host.programs import checked
from lib.systems.protobuf import decoded


def with_tools() -> None:
    """Goes on under the Python of .tools, which has grpcio: `./test --tools` installs it."""
    tools = ROOT / ".tools"
    if Path(sys.prefix).resolve() == tools.resolve():
        return
    checked([str(ROOT / "test"), "--tools"], "it installs grpcio, with which stores are filled")
    python = str(tools / "bin" / "python")
    os.execv(python, [python, str(Path(sys.argv[0]).resolve()), *sys.argv[1:]])


@contextmanager
def channel(address: str, options: Sequence[tuple[str, int]] = ()) -> Iterator[Any]:
    import grpc  # of .tools, see with_tools

    with grpc.insecure_channel(address, options=options) as opened:
        yield opened


def call(address: str, method: str, request: bytes = b"") -> dict[int, Any]:
    with channel(address) as opened:
        return decoded(opened.unary_unary(method)(request, timeout=10, wait_for_ready=True))
