"""Certificates for loopback, made by openssl, which live as long as the scratch folder."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from lib.host.programs import require_program, run_checked

# The host that the server's certificate is for.
HOST = "localhost"
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


@dataclass(frozen=True)
class Certificates:
    """One authority for the server and its clients. The programs run in the scratch folder, so names of files suffice."""

    folder: Path

    @property
    def server_flags(self) -> list[str]:
        """Flags of a soloist-server that clients know by its certificate."""
        return ["--tls-cert", "server.pem", "--tls-key", "server.key"]

    @property
    def mutual_flags(self) -> list[str]:
        """Flags of a soloist-server that asks its clients for certificates, too."""
        return [*self.server_flags, "--tls-client-ca", "ca.pem"]

    @property
    def client_flags(self) -> list[str]:
        """Flags of a soloist-load that trusts the authority."""
        return ["--tls-ca", "ca.pem"]

    @property
    def mutual_client_flags(self) -> list[str]:
        """Flags of a soloist-load that shows a certificate."""
        return [*self.client_flags, "--tls-cert", "client.pem", "--tls-key", "client.key"]

    def client_context(self) -> ssl.SSLContext:
        """What a client in Python needs to show a certificate."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        context.set_alpn_protocols(["h2"])
        return context


def make_certificates(folder: Path) -> Certificates:
    """Makes an authority, and certificates of a server and of a client."""
    ca = f"req -x509 -days 1 -subj /CN=bench -keyout ca.key -out ca.pem {KEY}"
    openssl(folder, f"{ca} -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign")
    for name in ("server", "client"):
        leaf = f"req -x509 -CA ca.pem -CAkey ca.key -days 1 -subj /CN={name} -keyout {name}.key -out {name}.pem {KEY}"
        openssl(folder, f"{leaf} -addext subjectAltName=DNS:{HOST} -addext basicConstraints=critical,CA:FALSE")
    return Certificates(folder)


def openssl(folder: Path, arguments: str) -> None:
    program = require_program("openssl", "openssl")
    run_checked([program, *arguments.split()], "it makes the certificates", cwd=folder)


def https(address: str) -> str:
    """The address of a server with TLS, as soloist-load takes it."""
    return f"https://{HOST}:{address.rpartition(':')[2]}"
