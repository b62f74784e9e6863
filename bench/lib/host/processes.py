"""Starts servers and clients, each on a core of its own."""

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

from lib.host.errors import BenchError, ProgramMissing
from lib.host.programs import OUTPUT_MAX, require_program

# In seconds. A store of millions of keys can need a minute to open; a server that exits instead is noticed at once.
START_TIMEOUT = 120.0
READY_POLL_INTERVAL = 0.02
# In seconds, between SIGTERM and SIGKILL.
STOP_TIMEOUT = 5.0


@dataclass(frozen=True)
class Server:
    command: str
    process: subprocess.Popen[bytes]
    # Standard output and standard error.
    log: Path

    def when_ready(self, probe: Callable[[], str | None]) -> str:
        """Calls `probe` until it returns something, and returns that."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            answer = probe()
            if answer is not None:
                return answer
            if self.process.poll() is not None:
                raise BenchError(f"{self.command}: exited with code {self.process.returncode}")
            time.sleep(READY_POLL_INTERVAL)
        raise BenchError(f"{self.command}: not ready within {START_TIMEOUT:.0f} s")

    def cpu_seconds(self) -> float:
        """User and system time of the process, threads that have ended included. Nanoseconds, where /proc/PID/stat has ticks."""
        # The clock id that clock_getcpuclockid(3) computes from a process id.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident_bytes(self) -> int:
        """VmRSS of /proc/PID/status."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


@dataclass
class Bench:
    """What a section needs to run: Soloist's binaries, cores, a scratch folder, and the options that sections look at."""

    # soloist-server and soloist-load, by name.
    binaries: dict[str, Path]
    # Removed at the end. Sections about durability measure the disk that it is on.
    scratch: Path
    # Servers on one core, clients on another. Otherwise every process may use every core.
    pinned: bool = True
    # A tenth of the keys and watches: shows that a section works.
    quick: bool = False
    # The option --keys.
    key_count: int = 1_000_000
    # The last command of each role, for the ledger.
    commands: dict[str, str] = field(default_factory=dict)

    @cached_property
    def cores(self) -> tuple[str, str]:
        """The core of the servers and the core of the clients, as taskset takes them."""
        cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
        require_program("taskset", "util-linux")
        if not self.pinned:
            return ",".join(cores), ",".join(cores)
        if len(cores) < 2:
            raise BenchError("this process may use one core, and needs two: one for the server and one for the client")
        return cores[0], cores[1]

    def scaled(self, full: int) -> int:
        """`full`, or a tenth of it in a quick run."""
        return full // 10 if self.quick else full

    def in_folder(self, name: str) -> Bench:
        """The same bench with a scratch folder of its own, so that two servers of one kind do not share files."""
        scratch = self.scratch / name
        scratch.mkdir(exist_ok=True)
        return replace(self, scratch=scratch)

    @contextmanager
    def server(self, name: str, program: Path, *flags: str) -> Iterator[Server]:
        """A running server, pinned, stopped at the end. An error of the block quotes the server's log."""
        command = self.pin(0, [str(program), *flags])
        self.record_command(f"{name} server", command)
        log = self.scratch / f"{program.name}.log"
        process = self.start(command, log)
        try:
            yield Server(command_text(command), process, log)
        except ProgramMissing:
            raise
        except BenchError as error:
            raise BenchError(f"{error}\n{log.read_text()[-OUTPUT_MAX:]}".rstrip()) from error
        finally:
            stop_process(process)

    def client(self, name: str, program: Path, *flags: str, timeout: float = 600.0, pinned: bool = True) -> str:
        """Runs a client to its end and returns its output."""
        command = self.pin(1, [str(program), *flags]) if pinned else [str(program), *flags]
        self.record_command(f"{name} client", command)
        try:
            done = subprocess.run(
                command,
                cwd=self.scratch,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise BenchError(f"{command_text(command)}: still running after {timeout:.0f} s") from expired
        if done.returncode != 0:
            output = (done.stderr or done.stdout).strip()[-OUTPUT_MAX:]
            raise BenchError(f"{command_text(command)}: exited with code {done.returncode}\n{output}")
        return done.stdout

    @contextmanager
    def background(self, name: str, program: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """A client that runs during the block, pinned, stopped at the end. It must not fail before."""
        command = self.pin(1, [str(program), *flags])
        self.record_command(f"{name} client", command)
        log = self.scratch / f"{name.replace(' ', '-')}.client.log"
        process = self.start(command, log)
        try:
            yield process
            if process.poll():
                output = log.read_text().strip()[-OUTPUT_MAX:]
                raise BenchError(f"{command_text(command)}: exited early with code {process.returncode}\n{output}")
        finally:
            stop_process(process)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("w") as out:
            return subprocess.Popen(command, cwd=self.scratch, env=clean_environment(), stdout=out, stderr=out)

    def pin(self, core: int, command: list[str]) -> list[str]:
        """The command on core 0 (servers) or 1 (clients) of `cores`."""
        return ["taskset", "-c", self.cores[core], *command]

    def record_command(self, role: str, command: list[str]) -> None:
        """Keeps the command for the ledger. Later runs replace earlier ones, so a full run remains and not a pilot."""
        self.commands[role] = command_text(command)


def clean_environment() -> dict[str, str]:
    """The environment without SOLOIST_ variables, which would change the settings of Soloist's programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SOLOIST_")}


def stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command_text(command: list[str]) -> str:
    """The command as one types it when its programs are in PATH and its files in the current folder."""
    return shlex.join(Path(word).name if word.startswith("/") else word for word in command)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])
