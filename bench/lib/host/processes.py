"""Starts servers and clients, each on its core."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from lib.host.errors import Failed, Missing
from lib.host.programs import BINARIES, built, need

# A store of millions of keys may take so long to come back. Whoever ends instead is noticed at once.
START_TIMEOUT = 120.0


@dataclass(frozen=True)
class Server:
    command: str
    process: subprocess.Popen[bytes]
    log: Path

    def when_ready(self, probe: Callable[[], str | None]) -> str:
        """Asks until there is an answer."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            answer = probe()
            if answer is not None:
                return answer
            if self.process.poll() is not None:
                raise Failed(f"{self.command}: ended with {self.process.returncode}")
            time.sleep(0.02)
        raise Failed(f"{self.command}: not ready within {START_TIMEOUT:.0f} s")

    def cpu(self) -> float:
        """User and system time of the process, as in /proc/PID/stat but in nanoseconds; of ended threads too."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # what clock_getcpuclockid(3) does

    def resident_bytes(self) -> int:
        """VmRSS of /proc/PID/status."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


@dataclass
class Bench:
    """What every side needs: programs, cores, and a place for files that nobody keeps."""

    # None: cargo builds them.
    bin_dir: Path | None
    # On the disk that is measured, where one is.
    scratch: Path
    # Servers on one core and clients on another.
    pinned: bool = True
    # Fills a tenth of the keys, opens a tenth of the watches: does it work?
    quick: bool = False
    # Of those sections that let it be chosen.
    key_count: int = 1_000_000
    commands: dict[str, str] = field(default_factory=dict)

    @cached_property
    def cores(self) -> tuple[str, str]:
        """Of servers and of clients, as taskset takes them."""
        cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
        need("taskset", "util-linux")
        if not self.pinned:
            return ",".join(cores), ",".join(cores)
        if len(cores) < 2:
            raise Failed("one core for the server and one for the client are needed, and there is only one in all")
        return cores[0], cores[1]

    @cached_property
    def binaries(self) -> dict[str, Path]:
        """soloist-server and soloist-load, built or taken from --bin-dir."""
        found = built() if self.bin_dir is None else {name: self.bin_dir.resolve() / name for name in BINARIES}
        for name in BINARIES:
            if not found.get(name, Path()).is_file():
                raise Failed(f"there is no {name} in {self.bin_dir or 'what cargo built'}")
        return found

    def amount(self, full: int) -> int:
        """As much of something as this bench is to have."""
        return full // 10 if self.quick else full

    def at(self, name: str) -> Bench:
        """The same with a folder of its own, so that servers of one kind can run beside each other."""
        scratch = self.scratch / name
        scratch.mkdir(exist_ok=True)
        return replace(self, scratch=scratch)

    @contextmanager
    def server(self, name: str, program: Path, *flags: str) -> Iterator[Server]:
        """A server, pinned. What it prints is shown if it fails."""
        command = self.on_core(0, [str(program), *flags], pinned=True)
        self.note(f"{name} server", command)
        log = self.scratch / f"{program.name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=self.scratch, env=environment(), stdout=out, stderr=out)
        try:
            yield Server(display(command), process, log)
        except Missing:
            raise
        except Failed as failed:
            raise Failed(f"{failed}\n{log.read_text()[-2000:]}".rstrip()) from failed
        finally:
            stop(process)

    def client(self, name: str, program: Path, *flags: str, timeout: float = 600.0, pinned: bool = True) -> str:
        """Runs a client to its end and gives what it printed."""
        command = self.on_core(1, [str(program), *flags], pinned)
        self.note(f"{name} client", command)
        try:
            done = subprocess.run(
                command, cwd=self.scratch, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"{display(command)}: not done after {timeout:.0f} s") from expired
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise Failed(f"{display(command)}: exit code {done.returncode}\n{said}")
        return done.stdout

    @contextmanager
    def background(self, name: str, program: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """A client that runs meanwhile, pinned, and is stopped at the end."""
        command = self.on_core(1, [str(program), *flags], pinned=True)
        self.note(f"{name} client", command)
        log = self.scratch / f"{name.replace(' ', '-')}.client.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=self.scratch, env=environment(), stdout=out, stderr=out)
        try:
            yield process
            if process.poll():
                said = log.read_text().strip()[-2000:]
                raise Failed(f"{display(command)}: ended early with {process.returncode}\n{said}")
        finally:
            stop(process)

    def on_core(self, which: int, command: list[str], pinned: bool) -> list[str]:
        return ["taskset", "-c", self.cores[which], *command] if pinned else command

    def note(self, role: str, command: list[str]) -> None:
        """Keeps the command for the ledger: the last one of its role, which is that of a full run."""
        self.commands[role] = display(command)


def environment() -> dict[str, str]:
    """Without what would change the settings of Soloist behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SOLOIST_")}


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def display(command: list[str]) -> str:
    """As one would type it with the programs in PATH."""
    return shlex.join(Path(word).name if word.startswith("/") else word for word in command)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
