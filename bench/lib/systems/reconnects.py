"""A client that connects again and again, with certificates. A program of its own: it runs on the clients' core.

It opens as many connections as asked for at once, each with a TLS handshake in which both sides show a certificate, and
closes each as soon as the handshake is complete. Then it begins again, until it is stopped. It prints a dot for each handshake.
It waits before it begins, so that others can connect before it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import sys
import time
from pathlib import Path

# Lowest priority: the other client on this core must not wait for this one.
NICE = 19


async def wave(context: ssl.SSLContext, port: int, count: int) -> None:
    async def connect() -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        # Not `close`, which would wait for the server's end of TLS.
        writer.transport.abort()
        print(end=".", flush=True)

    await asyncio.gather(*(connect() for _ in range(count)))


def main() -> None:
    port, count, folder, wait = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    os.nice(NICE)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    context.set_alpn_protocols(["h2"])
    time.sleep(wait)
    while True:
        asyncio.run(wave(context, port, count))


if __name__ == "__main__":
    main()
