"""The load generator h2load: it repeats one gRPC call, and looks at HTTP's status only, not at gRPC's."""

from __future__ import annotations

import re
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.host.programs import OUTPUT_MAX, require_program
from lib.systems.protobuf import grpc_frame

# The body of an answer: gRPC's prefix of five bytes and at least one byte of a message. A refusal has no body.
ANSWER_BYTES_MIN = 6


def h2load_program() -> Path:
    return Path(require_program("h2load", "nghttp2-client"))


def h2load_flags(bench: Bench, address: str, method: str, request: bytes, flags: str) -> list[str]:
    """The flags that repeat a call of `method` with `request`."""
    body = bench.scratch / f"{method.replace('/', '.')}.request"
    body.write_bytes(grpc_frame(request))
    words = ["-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return [*flags.split(), *words, f"http://{address}/{method}"]


def answered_calls(output: str) -> int:
    """How many calls were answered. A call that failed or was refused ends the section."""
    counts = re.search(r"^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", output, re.MULTILINE)
    body_bytes = re.search(r"\((\d+)\) data$", output, re.MULTILINE)
    if counts is None or body_bytes is None or counts[1] != counts[2] or counts[1] == "0":
        raise BenchError(f"calls of h2load failed:\n{output.strip()[-OUTPUT_MAX:]}")
    # h2load does not see that a server refused a call: gRPC refuses with HTTP status 200.
    if int(body_bytes[1]) < ANSWER_BYTES_MIN * int(counts[1]):
        raise BenchError(f"the server refused calls of h2load:\n{output.strip()[-OUTPUT_MAX:]}")
    return int(counts[1])


def calls_per_second(output: str) -> float:
    rate = re.search(r"^finished in .*, ([\d.]+) req/s", output, re.MULTILINE)
    if rate is None:
        raise BenchError(f"h2load printed no rate:\n{output.strip()[-OUTPUT_MAX:]}")
    return float(rate[1])
