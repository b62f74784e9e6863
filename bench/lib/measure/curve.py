"""A section whose sides are points of curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from lib.measure.figures import Figures
from lib.measure.model import Result, Row, Section


@dataclass(frozen=True)
class Curve(Section):
    """Sides are named by `side`. A curve has no goals."""

    rows: list[Row] = field(default_factory=list)
    # What grows.
    axis: str = ""
    # What is looked at.
    figure: str = "server us/op"


def side(series: str, x: int) -> str:
    """The name of a point."""
    return f"{series}: {x:,}"


@dataclass(frozen=True)
class Point:
    x: int
    # Medians of the rounds.
    figures: Figures


def series_of(result: Result) -> dict[str, list[Point]]:
    """The curves of a section, in the order in which they were measured."""
    curves: dict[str, list[Point]] = {}
    for name in result.rounds[0]:
        series, _, x = name.rpartition(": ")
        figures = {figure: median(result.of((name, figure))) for figure in result.rounds[0][name]}
        curves.setdefault(series, []).append(Point(int(x.replace(",", "")), figures))
    return curves
