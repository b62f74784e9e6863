"""As much protobuf and gRPC as the benches need, so that no code has to be generated.

Calls are made by grpcio, which is in .tools: `with_tools` goes on under the Python there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.running import ROOT, Failed, checked, report

# Of everything that all sides write, where it is not said otherwise.
VALUE_BYTES = 100
BATCH_OPS = 1_000
BATCHES_IN_FLIGHT = 4


def with_tools() -> None:
    """Goes on under the Python of .tools, which has grpcio: `./test --tools` installs it."""
    tools = ROOT / ".tools"
    if Path(sys.prefix).resolve() == tools.resolve():
        return
    checked([str(ROOT / "test"), "--tools"], "it installs grpcio, with which stores are filled")
    python = str(tools / "bin" / "python")
    os.execv(python, [python, str(Path(sys.argv[0]).resolve()), *sys.argv[1:]])


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def sized(number: int, payload: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def decoded(message: bytes) -> dict[int, Any]:
    """The last of each field, a number or bytes."""
    fields: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        value = number()
        if tag & 7 == 2:
            fields[tag >> 3] = message[at : at + value]
            at += value
        elif tag & 7 == 0:
            fields[tag >> 3] = value
        else:
            raise Failed(f"an answer has a field of wire type {tag & 7}, which this script does not read")
    return fields


def framed(message: bytes) -> bytes:
    """As gRPC sends it, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def soloist_read(key: str) -> bytes:
    """soloist.v1.ReadRequest."""
    return sized(1, key.encode())


def soloist_write(key: str) -> bytes:
    """soloist.v1.WriteRequest with a text."""
    return sized(1, key.encode()) + sized(4, sized(2, b"x" * VALUE_BYTES))


def etcd_put(key: str) -> bytes:
    """etcdserverpb.PutRequest."""
    return sized(1, key.encode()) + sized(2, b"x" * VALUE_BYTES)


@contextmanager
def channel(address: str, options: Sequence[tuple[str, int]] = ()) -> Iterator[Any]:
    import grpc  # of .tools, see with_tools

    with grpc.insecure_channel(address, options=options) as opened:
        yield opened


def call(address: str, method: str, request: bytes = b"") -> dict[int, Any]:
    with channel(address) as opened:
        return decoded(opened.unary_unary(method)(request, timeout=10, wait_for_ready=True))


def soloist_info(address: str) -> dict[int, Any]:
    return call(address, "/soloist.v1.Admin/GetInfo")


def soloist_revision(address: str) -> int:
    return int(soloist_info(address).get(3, 0))


def soloist_keys(address: str) -> int:
    return int(soloist_info(address).get(6, 0))


def etcd_revision(address: str) -> int:
    return int(decoded(call(address, "/etcdserverpb.KV/Range", sized(1, b"written"))[1])[3])


def long_name(key: int) -> str:
    """16 bytes."""
    return f"key-{key:012}"


def fill(address: str, names: Callable[[int], str], count: int, passes: int = 1) -> None:
    """Writes all keys, in order, in Batches; and again."""
    def batch(first: int) -> bytes:
        keys = range(first, min(first + BATCH_OPS, count))
        return b"".join(sized(1, sized(2, soloist_write(names(key)))) for key in keys)

    began = time.monotonic()
    send_batches(address, (batch(first) for _ in range(passes) for first in range(0, count, BATCH_OPS)))
    keys = soloist_keys(address)
    if keys < count:
        raise Failed(f"{count:,} keys were written and {keys:,} are there")
    report(f"filled with {count:,} keys in {time.monotonic() - began:.1f} s" + (", each twice" if passes > 1 else ""))


def fill_long_names(address: str, first: int, end: int) -> None:
    """As `fill` with `long_name`, from one key to another. As all take the same bytes but for the number, it takes a tenth
    of the time."""
    before, after = sized(1, sized(2, soloist_write(long_name(0)))).split(b"%012d" % 0)

    def batch(at: int) -> bytes:
        return b"".join([b"%b%012d%b" % (before, key, after) for key in range(at, min(at + BATCH_OPS, end))])

    send_batches(address, map(batch, range(first, end, BATCH_OPS)))
    if soloist_keys(address) != end:
        raise Failed(f"{end:,} keys were written and {soloist_keys(address):,} are there")


def send_batches(address: str, batches: Iterable[bytes]) -> None:
    """Each a BatchRequest, some of them under way at a time."""
    with channel(address) as opened:
        send = opened.unary_unary("/soloist.v1.State/Batch")
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(send.future(batch, timeout=60))
            if len(waiting) == BATCHES_IN_FLIGHT:
                waiting.pop(0).result()
        for answer in waiting:
            answer.result()
