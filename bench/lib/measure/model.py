"""Sections, their sides and rows, and the results of measuring them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Literal

from lib.host.processes import Bench
from lib.measure.figures import OTHERS_CORES, Figures

# Cores that other processes may use before a result is doubtful.
QUIET_CORES_MAX = 0.1
# One run of a side, for about so many seconds.
Run = Callable[[float], Figures]
# A side and the name of one of its figures.
FigureKey = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """Compares a figure with that of another side. Without another side, the row is about the figure itself."""

    name: str
    description: str
    measured: FigureKey
    baseline: FigureKey | None
    # How the goal bounds the ratio (or, without a baseline, the figure): from above or from below.
    bound: Literal["≤", "≥"]
    # None: the row is shown without a goal.
    goal: float | None


@dataclass(frozen=True)
class Section:
    """Sides that are measured together, and the rows that compare them."""

    name: str
    description: str
    # Starts servers and fills them, yields the sides by name, and stops the servers.
    start: Callable[[Bench], AbstractContextManager[dict[str, Run]]]
    rows: list[Row]


@dataclass(frozen=True)
class Result:
    section: Section
    # The figures of each side, in each round.
    rounds: list[dict[str, Figures]]
    # The commands of servers and clients, by their role.
    commands: dict[str, str]

    def values(self, key: FigureKey) -> list[float]:
        """The figure in each round."""
        side, figure = key
        return [figures[side][figure] for figures in self.rounds]

    def median(self, key: FigureKey) -> float:
        return median(self.values(key))

    def ratios(self, row: Row) -> list[float]:
        """The ratio of each round; none without a baseline."""
        if row.baseline is None:
            return []
        pairs = zip(self.values(row.measured), self.values(row.baseline), strict=True)
        return [measured / baseline for measured, baseline in pairs]

    def ratio(self, row: Row) -> float | None:
        """The median of the rounds' ratios: what disturbs a round disturbs both of its sides."""
        ratios = self.ratios(row)
        return median(ratios) if ratios else None

    def bounded_value(self, row: Row) -> float:
        """The value that the goal bounds."""
        ratio = self.ratio(row)
        return self.median(row.measured) if ratio is None else ratio

    def goal_reached(self, row: Row) -> bool | None:
        """None for a row without a goal."""
        if row.goal is None:
            return None
        value = self.bounded_value(row)
        return value <= row.goal if row.bound == "≤" else value >= row.goal

    @property
    def others_cores_max(self) -> float | None:
        """The most cores that other processes used during any run; None if no run noted them."""
        others = [figures[OTHERS_CORES] for sides in self.rounds for figures in sides.values() if OTHERS_CORES in figures]
        return max(others, default=None)
