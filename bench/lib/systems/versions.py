"""The versions of the peers and of the load generators."""

from __future__ import annotations

from collections.abc import Callable

from lib.host.programs import output_or_empty
from lib.measure.model import Result
from lib.systems.etcd import etcd_program
from lib.systems.goroutines import go_program
from lib.systems.h2load import h2load_program
from lib.systems.valkey import redis_benchmark_program, valkey_program


def versions_used(results: list[Result]) -> list[str]:
    """The versions of those programs that the commands of the results name."""
    used = " ".join(command for result in results for command in result.commands.values()).split()
    version_of: dict[str, Callable[[], str]] = {
        "valkey-server": lambda: output_or_empty(str(valkey_program()), "--version"),
        "redis-benchmark": lambda: output_or_empty(str(redis_benchmark_program()), "--version"),
        "etcd": lambda: output_or_empty(str(etcd_program()), "--version").partition("\n")[0],
        "h2load": lambda: output_or_empty(str(h2load_program()), "--version"),
        "goroutines": lambda: output_or_empty(str(go_program()), "version"),
    }
    versions = (version() for program, version in version_of.items() if program in used)
    return [version for version in versions if version]
