"""What a measurement is: sections of sides that take turns, rows that compare their figures, and CPU times."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lib.running import Bench, Failed, Server, report

# Cores that others may use before the figures are doubted.
QUIET = 0.1

# What one run of one side tells: figures by name, which ends in their unit.
Figures = dict[str, float]
# Runs for about so many seconds.
Run = Callable[[float], Figures]
# The side and the figure.
Cell = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """A goal. It bounds the ratio of two figures, or one figure as it is."""

    name: str
    what: str
    ours: Cell
    peer: Cell | None
    # Of the goal: from above ("≤") or from below ("≥").
    bound: str
    goal: float | None


@dataclass(frozen=True)
class Section:
    """Rows that are measured in one go."""

    name: str
    what: str
    # Starts what is needed and stops it afterwards; gives the sides, which take turns.
    start: Callable[[Bench], AbstractContextManager[dict[str, Run]]]
    rows: list[Row]


@dataclass(frozen=True)
class Result:
    section: Section
    rounds: list[dict[str, Figures]]
    commands: dict[str, str]

    def of(self, cell: Cell) -> list[float]:
        side, figure = cell
        return [figures[side][figure] for figures in self.rounds]

    def ratio(self, row: Row) -> float | None:
        """The median of the rounds' ratios: what disturbs a round disturbs both of its sides."""
        if row.peer is None:
            return None
        return median(one / other for one, other in zip(self.of(row.ours), self.of(row.peer), strict=True))

    def reached(self, row: Row) -> bool | None:
        if row.goal is None:
            return None
        value = self.compared(row)
        return value <= row.goal if row.bound == "≤" else value >= row.goal

    def compared(self, row: Row) -> float:
        """What the goal bounds."""
        ratio = self.ratio(row)
        return median(self.of(row.ours)) if ratio is None else ratio

    @property
    def others(self) -> float:
        """The most that others took in any run."""
        return max(figures.get("others cores", 0.0) for sides in self.rounds for figures in sides.values())


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


# --- CPU times ---------------------------------------------------------------------------------------------------


def children_cpu() -> float:
    """Of the clients that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_cpu() -> float:
    """Time that the cores were not idle, in seconds."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def watched(server: Server | None, run: Callable[[], Figures]) -> Figures:
    """Adds what the server and all others used meanwhile, as a number of cores; and if the run tells how many
    operations there were ("operations"), the CPU time of the server and of the clients for each."""
    def server_cpu() -> float:
        return server.cpu() if server is not None else 0.0

    start, machine, clients, cpu = time.monotonic(), machine_cpu(), children_cpu(), server_cpu()
    figures = run()
    elapsed = time.monotonic() - start
    cpu, clients = server_cpu() - cpu, children_cpu() - clients
    others = max(0.0, machine_cpu() - machine - cpu - clients)
    operations = figures.get("operations")
    if operations:
        if server is not None:
            figures["server us/op"] = cpu * 1e6 / operations
        figures["client us/op"] = clients * 1e6 / operations
    if server is not None:
        figures["server cores"] = cpu / elapsed
    return {**figures, "others cores": others / elapsed}


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


def quantile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


# --- Figures as text ---------------------------------------------------------------------------------------------


def said(figures: Figures) -> str:
    return ", ".join(amount(value, name) for name, value in figures.items())


def amount(value: float, figure: str) -> str:
    """With its name and unit, as in `p99 1.5 ms`."""
    words = figure.split()
    name, unit = " ".join(words[:-1]), words[-1]
    if unit == "us":
        return f"{name} {shown(value, unit)}"
    return f"{name} {shown(value, unit)} {unit}".strip()


def shown(value: float, unit: str) -> str:
    if unit == "us":
        return f"{value / 1e3:.2f} ms" if value >= 1e3 else f"{value:.0f} us"
    if unit == "us/op":
        return f"{value:.3f}"
    return f"{value:.2f}" if unit in ("s", "cores") else f"{value:,.0f}"
