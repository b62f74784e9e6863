"""Sections of sides that take turns, and rows that compare their figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median

from lib.host.processes import Bench
from lib.measure.figures import Figures

# Cores that others may use before the figures are doubted.
QUIET = 0.1
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
