"""The versions of the peers."""

from __future__ import annotations

from collections.abc import Callable

from lib.host.programs import output_of
from lib.measure.model import Result
from lib.systems.etcd import etcd_program
from lib.systems.h2load import h2load_program
from lib.systems.valkey import redis_benchmark, valkey_program


def versions(results: list[Result]) -> list[str]:
    """Of the peers that were used."""
    used = " ".join(command for result in results for command in result.commands.values()).split()
    programs: dict[str, Callable[[], str]] = {
        "valkey-server": lambda: output_of(str(valkey_program()), "--version"),
        "redis-benchmark": lambda: output_of(str(redis_benchmark()), "--version"),
        "etcd": lambda: output_of(str(etcd_program()), "--version").partition("\n")[0],
        "h2load": lambda: output_of(str(h2load_program()), "--version"),
    }
    return [version() for program, version in programs.items() if program in used]
