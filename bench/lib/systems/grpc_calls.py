"""gRPC calls by grpcio.

`./test --tools` installs grpcio into the Python environment .tools. The scripts run under that Python:
`restart_with_grpcio` sees to it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.host.paths import ROOT, TEST_TOOLS
from lib.host.programs import run_checked
from lib.systems.protobuf import decode

# In seconds.
CALL_TIMEOUT = 10


def restart_with_grpcio() -> None:
    """Restarts this script under the Python that has grpcio, unless it runs there already."""
    if Path(sys.prefix).resolve() == TEST_TOOLS.resolve():
        return
    run_checked([str(ROOT / "test"), "--tools"], "it installs grpcio, which fills the stores")
    python = str(TEST_TOOLS / "bin" / "python")
    os.execv(python, [python, str(Path(sys.argv[0]).resolve()), *sys.argv[1:]])


@contextmanager
def channel(address: str, options: Sequence[tuple[str, int]] = ()) -> Iterator[Any]:
    # Only the Python of .tools has it.
    import grpc

    with grpc.insecure_channel(address, options=options) as opened:
        yield opened


def call(address: str, method: str, request: bytes = b"") -> dict[int, Any]:
    """One unary call on a connection of its own."""
    with channel(address) as opened:
        return decode(opened.unary_unary(method)(request, timeout=CALL_TIMEOUT, wait_for_ready=True))
