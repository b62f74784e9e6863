"""As much protobuf and gRPC framing as the benches need, so that no code has to be generated."""

from __future__ import annotations

from typing import Any

from lib.host.errors import Failed


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
