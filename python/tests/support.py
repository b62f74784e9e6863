"""A real server for the tests. SOLOIST_SERVER_BINARY says where it is; without it, ../target/release/soloist-server."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SOLOIST_SERVER_BINARY", ROOT / "target/release/soloist-server"))


class Server:
    """A server with a store on disk, which can be killed and started again at the same address."""

    def __init__(self, *flags: str, listen: str = "127.0.0.1:0") -> None:
        if not BINARY.exists():
            raise FileNotFoundError(f"{BINARY} is not there: cargo build --release --bin soloist-server")
        self._folder = tempfile.TemporaryDirectory(prefix="soloist-python-")
        self._flags = flags
        self._process: subprocess.Popen[str] | None = None
        self.address = listen
        self.start()

    def start(self) -> None:
        command = [
            str(BINARY),
            "--listen",
            self.address,
            "--data-dir",
            f"{self._folder.name}/store",
            "--log",
            "error",
            *self._flags,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server said {line!r} instead of where it listens")
        self.address = line.removeprefix("listening on ")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Nginx:
    """deploy/proxy/nginx.conf in front of a server. It ends each connection after 100 calls."""

    def __init__(self, server: Server) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="soloist-python-")
        # Nobody else takes a port that was just free, or else nginx says so.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = (ROOT / "deploy/proxy/nginx.conf").read_text()
        config = config.replace("127.0.0.1:50051", server.address).replace("127.0.0.1:8080", self.address)
        file = Path(self._folder.name) / "nginx.conf"
        file.write_text(
            "daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events { worker_connections 1024; }\n"
            "http { keepalive_requests 100; log_format connection $connection; access_log connections connection;\n"
            "client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;\n"
            f"{config} }}"
        )
        unpacked = ROOT / ".tools/nginx/usr/sbin/nginx"
        command = [str(unpacked) if unpacked.exists() else "nginx", "-p", self._folder.name, "-c", str(file)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def connections(self) -> int:
        """How many connections have carried calls that have ended."""
        return len(set((Path(self._folder.name) / "connections").read_text().split()))

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def eventually(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Waits for something that nothing tells of."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s")
        time.sleep(0.01)


@contextlib.contextmanager
def process(*command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end."""
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.send_signal(signal.SIGCONT)
        started.kill()
        started.wait()
        started.stdout.close()


def line_of(started: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """Returns the next line that a process writes."""
    ready, _, _ = select.select([started.stdout], [], [], timeout)
    if not ready:
        raise AssertionError(f"nothing was written within {timeout} s")
    return started.stdout.readline().strip()  # type: ignore[union-attr]
