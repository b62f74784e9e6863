"""What identities and TLS cost: calls and frames with them beside the same without."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host.processes import Bench, Server
from lib.measure.model import Row, Run, Section
from lib.systems.certificates import https, make_certificates
from lib.systems.load import FRAMES_OF_1, KEYS, WORKERS, load_by_count, preload, reader_flags
from lib.systems.soloist import soloist_server

CALLS = f"--engine raw {reader_flags(WORKERS)}"
FRAMES = f"{FRAMES_OF_1} {reader_flags(WORKERS)}"
# A file as that of a team of services: so many identities, each with so many prefixes of its own.
IDENTITIES = 100
PREFIXES = 10


@contextmanager
def start_access(bench: Bench) -> Iterator[dict[str, Run]]:
    known = bench.in_folder("access")
    access_file = write_access_file(known.scratch)
    with (
        soloist_server(bench, name="without") as (without, without_address),
        soloist_server(known, "--access-file", str(access_file), name="with identities") as (server, address),
    ):
        token = f"--token-file {access_file.with_name('token')}"
        preload(bench, without_address)
        preload(known, address, flags=token)
        yield {
            **sides(bench, without, without_address, "without", ""),
            **sides(known, server, address, "with identities", token),
        }


@contextmanager
def start_tls(bench: Bench) -> Iterator[dict[str, Run]]:
    encrypted = bench.in_folder("tls")
    certificates = make_certificates(encrypted.scratch)
    with (
        soloist_server(bench, name="plaintext") as (plaintext, plaintext_address),
        soloist_server(encrypted, *certificates.server_flags, name="TLS") as (server, listening),
    ):
        address, flags = https(listening), " ".join(certificates.client_flags)
        preload(bench, plaintext_address)
        preload(encrypted, address, flags=flags)
        yield {
            **sides(bench, plaintext, plaintext_address, "plaintext", ""),
            **sides(encrypted, server, address, "TLS", flags),
        }


def sides(bench: Bench, server: Server, address: str, name: str, flags: str) -> dict[str, Run]:
    """Calls and frames of one server."""
    return {
        f"{what}, {name}": load_by_count(bench, server, address, f"{what}, {name}", f"{operations} {flags}")
        for what, operations in (("calls", CALLS), ("frames", FRAMES))
    }


def write_access_file(folder: Path) -> Path:
    """Writes an access file, and the token of one of its identities, which may read and write all keys of the sections."""
    identities: list[str] = []
    for number in range(IDENTITIES):
        token = f"slst_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        keys = [f"service-{number}/{prefix}/*" for prefix in range(PREFIXES)]
        if number == 0:
            (folder / "token").write_text(token)
            keys += map(str, range(KEYS))
        identities.append(
            f"[identities.service-{number}]\ntokens = ['sha256:{digest}']\nroles = ['service-{number}']\n"
            f"[roles.service-{number}]\nread = {keys}\nwrite = {keys}\n"
        )
    path = folder / "access.toml"
    path.write_text("".join(identities))
    return path


def row(what: str, name: str, baseline: str, description: str, goal: float | None) -> Row:
    return Row(
        f"{what}, {name}",
        description,
        (f"{what}, {name}", "server us/op"),
        (f"{what}, {baseline}", "server us/op"),
        "≤",
        goal,
    )


ACCESS = Section(
    "access",
    "Reads with an access file and a token beside Reads without: the server's CPU time for each",
    start_access,
    [
        row("calls", "with identities", "without", "unary Reads, 110 at once on one connection", 1.03),
        row("frames", "with identities", "without", "Reads by 110 streams, each with 16 frames of one Read in flight", 1.03),
    ],
)

TLS = Section(
    "tls",
    "Reads over TLS beside Reads in plain text: the server's CPU time for each",
    start_tls,
    [
        row("calls", "TLS", "plaintext", "unary Reads, 110 at once on one connection", None),
        row("frames", "TLS", "plaintext", "Reads by 110 streams, each with 16 frames of one Read in flight", None),
    ],
)
