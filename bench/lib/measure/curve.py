"""Curves: sections whose sides are points, each a series and a value of x."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from lib.measure.figures import Figures
from lib.measure.model import Result, Row, Section


@dataclass(frozen=True)
class Curve(Section):
    """A section whose sides have the names of `point_name`. It has no rows."""

    rows: list[Row] = field(default_factory=list)
    # The unit of x: the quantity that grows from point to point.
    axis: str = ""
    # The figure whose growth is described.
    figure: str = "server us/op"


@dataclass(frozen=True)
class Point:
    x: int
    # Medians of the rounds.
    figures: Figures


def point_name(series: str, x: int) -> str:
    return f"{series}: {x:,}"


def split_point_name(name: str) -> tuple[str, int]:
    series, _, x = name.rpartition(": ")
    return series, int(x.replace(",", ""))


def points_by_series(result: Result) -> dict[str, list[Point]]:
    """The points of each series, in the order in which they were measured."""
    series_points: dict[str, list[Point]] = {}
    for name in result.rounds[0]:
        series, x = split_point_name(name)
        figures = {figure: median(result.values((name, figure))) for figure in result.rounds[0][name]}
        series_points.setdefault(series, []).append(Point(x, figures))
    return series_points
