"""Measures sections: their sides take turns, for a number of rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.host.console import print_status
from lib.host.errors import BenchError
from lib.host.processes import Bench
from lib.measure.figures import Figures, figures_text
from lib.measure.model import Result, Run, Section

# A pilot is long enough to tell the rate once it takes so many seconds.
PILOT_SECONDS = 0.5
PILOT_GROWTH = 4


def measure_sections(bench: Bench, sections: Sequence[Section], rounds: int, seconds: float) -> tuple[list[Result], list[str]]:
    """The results, and the names of the sections that did not run."""
    results: list[Result] = []
    failures: list[str] = []
    for section in sections:
        try:
            results.append(measure_section(bench, section, rounds, seconds))
        # grpcio raises errors of its own, whose class is not known here.
        except Exception as error:
            failures.append(section.name)
            print_status(f"{section.name}: {error if isinstance(error, (BenchError, OSError)) else repr(error)}")
    return results, failures


def measure_section(bench: Bench, section: Section, rounds: int, seconds: float) -> Result:
    """Measures the sides turn by turn (A B A B). All servers start before the first turn and stay, so no side is colder."""
    bench.commands.clear()
    measured: list[dict[str, Figures]] = []
    with section.start(bench) as runs:
        for number in range(1, rounds + 1):
            figures: dict[str, Figures] = {}
            measured.append(figures)
            for side, run in runs.items():
                figures[side] = run(seconds)
                print_status(f"{section.name} {number}/{rounds} {side}: {figures_text(figures[side])}")
    return Result(section, measured, dict(bench.commands))


def sized_by_pilots(run_count: Callable[[int], Figures], first_pilot: int = 20_000) -> Run:
    """Turns a run of a number of operations into one of about so many seconds.

    Before its first run it makes pilots, of `first_pilot` operations and then of more and more, until one is long enough
    to tell the rate. Pilots also warm up both ends; their figures are dropped.
    """
    rate = 0.0

    def run_seconds(seconds: float) -> Figures:
        nonlocal rate
        operations = first_pilot
        while rate == 0.0:
            pilot = run_count(operations)
            if operations / pilot["ops/s"] >= min(PILOT_SECONDS, seconds):
                rate = pilot["ops/s"]
            operations *= PILOT_GROWTH
        figures = run_count(max(1, round(rate * seconds)))
        rate = figures["ops/s"]
        return figures

    return run_seconds
