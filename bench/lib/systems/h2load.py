"""h2load, which repeats one call."""

from __future__ import annotations

import re
from pathlib import Path

from lib.host.errors import Failed
from lib.host.processes import Bench
from lib.host.programs import need
from lib.systems.protobuf import framed


def h2load_program() -> Path:
    return Path(need("h2load", "nghttp2-client"))


def h2load_flags(bench: Bench, address: str, method: str, request: bytes, flags: str) -> list[str]:
    """Calls a gRPC method again and again with one request."""
    body = bench.scratch / f"{method.replace('/', '.')}.request"
    body.write_bytes(framed(request))
    words = ["-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return [*flags.split(), *words, f"http://{address}/{method}"]


def h2load_count(output: str) -> int:
    """How many calls were answered; h2load itself does not look into gRPC's answers."""
    counts = re.search(r"^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", output, re.MULTILINE)
    body = re.search(r"\((\d+)\) data$", output, re.MULTILINE)
    if counts is None or body is None or counts[1] != counts[2] or counts[1] == "0":
        raise Failed(f"h2load had failures:\n{output.strip()[-2000:]}")
    # A refusal has no message, an answer has the five bytes that begin one and a revision.
    if int(body[1]) < 6 * int(counts[1]):
        raise Failed(f"the server refused what h2load sent:\n{output.strip()[-2000:]}")
    return int(counts[1])
