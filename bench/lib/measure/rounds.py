"""Runs the sides of a section turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.host.console import report
from lib.host.errors import Failed
from lib.host.processes import Bench
from lib.measure.figures import Figures, said
from lib.measure.model import Result, Run, Section


def measure(bench: Bench, section: Section, rounds: int, seconds: float) -> Result:
    """Turn by turn (A B A B), everything started before and left running, so that no side is colder than another."""
    bench.commands.clear()
    taken: list[dict[str, Figures]] = []
    with section.start(bench) as runs:
        for number in range(1, rounds + 1):
            taken.append({})
            for name, run in runs.items():
                taken[-1][name] = run(seconds)
                report(f"{section.name} {number}/{rounds} {name}: {said(taken[-1][name])}")
    return Result(section, taken, dict(bench.commands))


def measure_all(bench: Bench, sections: Sequence[Section], rounds: int, seconds: float) -> tuple[list[Result], list[str]]:
    """What came out, and the names of the sections that did not run."""
    results: list[Result] = []
    failures: list[str] = []
    for section in sections:
        try:
            results.append(measure(bench, section, rounds, seconds))
        # gRPC's own errors have a class that is not known here.
        except Exception as error:
            failures.append(section.name)
            report(f"{section.name}: {error if isinstance(error, (Failed, OSError)) else repr(error)}")
    return results, failures


def by_count(run: Callable[[int], Figures], first: int = 20_000) -> Run:
    """Makes a run of N operations one of about so many seconds. The pilots that find N, from `first` on, warm up both
    ends."""
    rate = 0.0

    def for_seconds(seconds: float) -> Figures:
        nonlocal rate
        operations = first
        while rate == 0.0:
            pilot = run(operations)
            if operations / pilot["ops/s"] >= min(0.5, seconds):
                rate = pilot["ops/s"]
            operations *= 4
        figures = run(max(1, round(rate * seconds)))
        rate = figures["ops/s"]
        return figures

    return for_seconds
