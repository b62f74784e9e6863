"""As much of protobuf and of gRPC's framing as the benches need. It spares them generated code."""

from __future__ import annotations

from typing import Any

from lib.host.errors import BenchError

VARINT, LENGTH_DELIMITED = 0, 2


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def length_delimited(number: int, payload: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(payload)) + payload


def decode(message: bytes) -> dict[int, Any]:
    """The fields of a message by number, as an integer or bytes. Of a repeated field, the last one."""
    fields: dict[int, Any] = {}
    at = 0

    def read_varint() -> int:
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
        tag = read_varint()
        value = read_varint()
        wire_type = tag & 7
        if wire_type == LENGTH_DELIMITED:
            fields[tag >> 3] = message[at : at + value]
            at += value
        elif wire_type == VARINT:
            fields[tag >> 3] = value
        else:
            raise BenchError(
                f"a message has a field of wire type {wire_type}; the benches decode only {VARINT} and {LENGTH_DELIMITED}"
            )
    return fields


def grpc_frame(message: bytes) -> bytes:
    """A message as gRPC sends it, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message
