"""One Read after another on a connection of its own, over a plain socket: as soon as possible after the answer, its end is
known, which a client library with threads of its own cannot tell."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib.host.errors import Failed
from lib.systems.protobuf import framed
from lib.systems.soloist import soloist_read

# Of HTTP/2: RFC 9113, section 6.
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEAD_BYTES = 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Answers are small; together they stay below the window of the connection, 65,535 bytes, that is never opened again.
MOST_CALLS = 1_000
TIMEOUT = 10.0


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that no table has. Source: RFC 7541, section 6.2.2."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


# The first two are of the static table: POST and http.
HEADER_BLOCK = b"\x83\x86" + b"".join(
    literal(name, value)
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
        self.read = b""
        self.stream = 1
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            while len(self.read) >= HEAD_BYTES:
                end = HEAD_BYTES + int.from_bytes(self.read[:3], "big")
                if len(self.read) < end:
                    break
                one, self.read = self.read[:end], self.read[end:]
                yield one[3], one[4], int.from_bytes(one[5:9], "big"), one[HEAD_BYTES:]
            more = self.connection.recv(1 << 16)
            if not more:
                raise Failed("the server closed the connection of the modest client")
            self.read += more

    def call(self, key: str) -> None:
        """Returns with the end of the answer, whatever that is."""
        stream, self.stream = self.stream, self.stream + 2
        body = frame(DATA, END_STREAM, stream, framed(soloist_read(key)))
        self.connection.sendall(frame(HEADERS, END_HEADERS, stream, HEADER_BLOCK) + body)
        for kind, flags, of, payload in self.frames():
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif of == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return


@contextmanager
def caller(address: str) -> Iterator[Caller]:
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Caller(connection)


def paced(calls: int, seconds: float) -> Iterator[int]:
    """So many in this time at most, with as much time between them as is then left."""
    began = time.monotonic()
    for number in range(min(calls, MOST_CALLS)):
        if time.monotonic() - began > seconds:
            return
        yield number
        time.sleep(seconds / (2 * calls))
