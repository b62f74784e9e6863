"""Reads one by one, on a connection of its own, over a plain socket.

The caller sees the end of an answer as soon as it arrives. A client library with threads of its own would see it later.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import BenchError
from lib.systems.protobuf import grpc_frame
from lib.systems.soloist import read_request

# HTTP/2 frame types and flags. Source: RFC 9113, section 6.
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
FRAME_HEADER_BYTES = 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# So many answers fit into the connection's window of 65,535 bytes, which this caller never opens again.
CALLS_MAX = 1_000
# In seconds.
TIMEOUT = 10.0


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal_header(name: bytes, value: bytes) -> bytes:
    """A header field that stays out of the dynamic table. Source: RFC 7541, section 6.2.2."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


# `:method: POST` and `:scheme: http` are in HPACK's static table.
METHOD_AND_SCHEME = b"\x83\x86"
HEADER_BLOCK = METHOD_AND_SCHEME + b"".join(
    literal_header(name, value)
    for name, value in (
        (b":path", b"/soloist.v1.State/Read"),
        (b":authority", b"bench"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)


class Caller:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.next_stream = 1
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))

    def call(self, key: str) -> None:
        """Sends a Read and returns at the end of its answer, whatever the answer is."""
        stream = self.next_stream
        self.next_stream += 2
        body = frame(DATA, END_STREAM, stream, grpc_frame(read_request(key)))
        self.connection.sendall(frame(HEADERS, END_HEADERS, stream, HEADER_BLOCK) + body)
        for kind, flags, frame_stream, payload in self.frames():
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif frame_stream == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Received frames: type, flags, stream and payload."""
        while True:
            while len(self.received) >= FRAME_HEADER_BYTES:
                end = FRAME_HEADER_BYTES + int.from_bytes(self.received[:3], "big")
                if len(self.received) < end:
                    break
                whole, self.received = self.received[:end], self.received[end:]
                yield whole[3], whole[4], int.from_bytes(whole[5:9], "big"), whole[FRAME_HEADER_BYTES:]
            more = self.connection.recv(1 << 16)
            if not more:
                raise BenchError("the server closed the connection of a client that makes one call at a time")
            self.received += more


@contextmanager
def caller(address: str, tls: ssl.SSLContext | None = None) -> Iterator[Caller]:
    """A caller of the server at `address`, which may begin with https://."""
    host, port = address.removeprefix("https://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            yield Caller(connection)
        else:
            with tls.wrap_socket(connection, server_hostname=host) as encrypted:
                yield Caller(encrypted)


def paced(calls: int, seconds: float) -> Iterator[int]:
    """Yields up to `calls` numbers (CALLS_MAX at most) for up to `seconds`, with a pause after each.

    The pauses together are half of that time, so calls that take the other half do not delay the last one.
    """
    began = time.monotonic()
    for number in range(min(calls, CALLS_MAX)):
        if time.monotonic() - began > seconds:
            return
        yield number
        time.sleep(seconds / (2 * calls))
