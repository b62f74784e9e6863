"""Where a server is, and with which credentials it is called."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

# How often the token's file is read again, at most. Seconds.
_TOKEN_INTERVAL = 1.0
_TOKEN_BYTES_MAX = 4_096

#: The messages of Soloist have at most 4 MiB by default, and a little around them.
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A connection whose other end is gone without a word is noticed after 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # After a restart the server is found soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This is the time limit of one attempt to connect.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass
class Target:
    """A server, and how to reach it."""

    address: str
    tls: bool
    ca_file: Path | None = None
    identity_files: tuple[Path, Path] | None = None
    server_name: str | None = None
    options: Sequence[tuple[str, Any]] = field(default_factory=tuple)

    @classmethod
    def parse(cls, target: str, **settings: Any) -> Target:
        """Parses ``HOST:PORT``, ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``."""
        if target.startswith("unix:"):
            made = cls("unix:" + target.removeprefix("unix:").replace("//", "", 1), False, **settings)
        elif "://" not in target:
            made = cls(target, False, **settings)
        else:
            url = urlsplit(target)
            if url.scheme not in ("http", "https") or not url.netloc or url.path not in ("", "/"):
                raise ValueError(
                    f"target must be HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:PATH, not {target!r}"
                )
            made = cls(url.netloc, url.scheme == "https", **settings)
        if not made.tls and (made.ca_file or made.identity_files or made.server_name):
            raise ValueError(f"certificates are for https targets, and the target is {target!r}")
        return made

    @classmethod
    def parse_all(cls, targets: str, **settings: Any) -> list[Target]:
        """Parses the targets of one store, with commas in between. Those without a scheme have that of the first."""
        if targets.startswith("unix:"):
            # A path may have commas.
            return [cls.parse(targets, **settings)]
        names = [name.strip() for name in targets.split(",")]
        scheme = names[0].partition("://")[0] if "://" in names[0] else "http"
        parsed: list[Target] = []
        for name in names:
            if not name or (len(names) > 1 and name.startswith("unix:")):
                raise ValueError(f"targets of one store must be HOST:PORT with commas in between, not {targets!r}")
            target = cls.parse(name if "://" in name or len(names) == 1 else f"{scheme}://{name}", **settings)
            if parsed and target.tls != parsed[0].tls:
                raise ValueError(f"all targets of one store must begin alike, with {scheme}://, and one is {name!r}")
            if all(target.address != other.address for other in parsed):
                parsed.append(target)
        return parsed

    def channel_options(self) -> list[tuple[str, Any]]:
        options = [*_OPTIONS, *self.options]
        if self.address.startswith("unix:"):
            # gRPC would name the path as the authority, with escapes that servers in Rust refuse.
            options.append(("grpc.default_authority", "localhost"))
        if self.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return options

    def credentials(self) -> Any:
        """Reads the certificates."""
        key = chain = None
        if self.identity_files is not None:
            chain, key = (path.read_bytes() for path in self.identity_files)
        ca = None if self.ca_file is None else self.ca_file.read_bytes()
        return grpc.ssl_channel_credentials(ca, key, chain)


class Token:
    """A token, or the file of one. The file is read again when it may have changed."""

    def __init__(self, token: str | None, file: Path | None) -> None:
        if token is not None and file is not None:
            raise ValueError("token and token_file exclude each other")
        self._token = token
        self._file = file
        self._next_look = 0.0
        self._lock = threading.Lock()
        self.metadata()

    def __repr__(self) -> str:
        return "Token(...)"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call."""
        if self._file is not None:
            with self._lock:
                now = time.monotonic()
                if now >= self._next_look:
                    self._token = _read_token(self._file)
                    self._next_look = now + _TOKEN_INTERVAL
        return () if self._token is None else (("authorization", f"Bearer {self._token}"),)


def _read_token(file: Path) -> str:
    with file.open("rb") as open_file:
        content = open_file.read(_TOKEN_BYTES_MAX + 1)
    token = content.strip()
    if not token or len(token) > _TOKEN_BYTES_MAX or not token.isascii():
        raise ValueError(f"token_file {file} must have a token of 1 to {_TOKEN_BYTES_MAX} ASCII bytes")
    return token.decode("ascii")
