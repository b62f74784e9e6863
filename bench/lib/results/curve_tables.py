"""Curves as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lib.measure.curve import Curve, Point, points_by_series, split_point_name
from lib.measure.figures import figure_unit, value_text
from lib.measure.model import Result
from lib.results.fit import growth_text, log_log_slope
from lib.results.tables import NOTHING, Table

# The figures of a point that have a column of their own.
POINT_COLUMNS = ("server us/op", "ops/s", "MB", "bytes each")
GROWTH_HEADING = ["section", "series", "x", "figure", "first", "last", "times", "slope", "slope at the end", "growth"]


@dataclass(frozen=True)
class Series:
    """The points of one curve, and its figure at those points that have one."""

    curve: Curve
    name: str
    points: list[Point]
    xs: list[float]
    ys: list[float]


def all_series(results: list[Result]) -> Iterator[Series]:
    for result in results:
        curve = result.section
        assert isinstance(curve, Curve)
        for name, points in points_by_series(result).items():
            known = [(float(point.x), point.figures[curve.figure]) for point in points if curve.figure in point.figures]
            yield Series(curve, name, points, [x for x, _ in known], [y for _, y in known])


def curve_tables(results: list[Result]) -> dict[str, Table]:
    return {"": growth_table(results), "Points, medians of the rounds:": points_table(results)}


def growth_table(results: list[Result]) -> Table:
    """A line for each series."""
    lines = [growth_line(series) for series in all_series(results) if series.ys]
    return [GROWTH_HEADING, *lines]


def growth_line(series: Series) -> list[str]:
    curve, points, xs, ys = series.curve, series.points, series.xs, series.ys
    slopes = (log_log_slope(xs, ys), log_log_slope(xs[-2:], ys[-2:]))
    return [
        curve.name,
        series.name,
        f"{points[0].x:,} to {points[-1].x:,} {curve.axis}",
        curve.figure,
        point_value_text(ys[0], curve.figure),
        point_value_text(ys[-1], curve.figure),
        f"{ys[-1] / ys[0]:.2f}" if ys[0] > 0 else NOTHING,
        *(NOTHING if slope is None else f"{slope:+.2f}" for slope in slopes),
        growth_text(xs, ys),
    ]


def points_table(results: list[Result]) -> Table:
    """A line for each point."""
    table = [["section", "series", "x", *POINT_COLUMNS]]
    for series in all_series(results):
        for point in series.points:
            figures = point.figures
            cells = [point_value_text(figures[name], name) if name in figures else NOTHING for name in POINT_COLUMNS]
            table.append([series.curve.name, series.name, f"{point.x:,} {series.curve.axis}", *cells])
    return table


def point_value_text(value: float, figure: str) -> str:
    return f"{value:,.1f}" if figure == "MB" else value_text(value, figure_unit(figure))


def largest_points_only(result: Result) -> Result:
    """The result with the commands of each series' largest point only: the others differ in a number."""
    largest = {series: points[-1].x for series, points in points_by_series(result).items()}

    def is_kept(role: str) -> bool:
        side = role.removesuffix(" client")
        if side not in result.rounds[0]:
            return True
        series, x = split_point_name(side)
        return largest[series] == x

    commands = {role: command for role, command in result.commands.items() if is_kept(role)}
    return Result(result.section, result.rounds, commands)


def curves_json(results: list[Result]) -> dict[str, Any]:
    def series_json(series: Series) -> dict[str, Any]:
        return {
            "curve": series.curve.name,
            "of": series.name,
            "axis": series.curve.axis,
            "figure": series.curve.figure,
            "points": [{"x": point.x, **point.figures} for point in series.points],
            "slope": log_log_slope(series.xs, series.ys),
            "slope_at_the_end": log_log_slope(series.xs[-2:], series.ys[-2:]),
            "growth": growth_text(series.xs, series.ys),
        }

    return {"curves": [series_json(series) for series in all_series(results)]}
