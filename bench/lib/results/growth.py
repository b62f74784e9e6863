"""Curves as tables and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lib.measure.curve import Curve, Point, series_of
from lib.measure.figures import shown
from lib.measure.model import Result
from lib.results.fit import exponent, growth
from lib.results.tables import Table

# The figures of a point that have a column of their own.
COLUMNS = ("server us/op", "ops/s", "MB", "bytes each")


def told(value: float, figure: str) -> str:
    return f"{value:,.1f}" if figure == "MB" else shown(value, figure.split()[-1])


def curves(results: list[Result]) -> Iterator[tuple[Curve, str, list[Point]]]:
    for result in results:
        assert isinstance(result.section, Curve)
        for series, points in series_of(result).items():
            yield result.section, series, points


def of_points(curve: Curve, points: list[Point]) -> tuple[list[float], list[float]]:
    known = [(float(point.x), point.figures[curve.figure]) for point in points if curve.figure in point.figures]
    return [x for x, _ in known], [y for _, y in known]


def amounts(results: list[Result]) -> Table:
    """Every point."""
    table = [["curve", "of", "x", *COLUMNS]]
    for curve, series, points in curves(results):
        for point in points:
            figures = point.figures
            cells = [told(figures[name], name) if name in figures else "–" for name in COLUMNS]
            table.append([curve.name, series, f"{point.x:,} {curve.axis}", *cells])
    return table


def growths(results: list[Result]) -> Table:
    """Every curve."""
    table = [["curve", "of", "x", "figure", "first", "last", "times", "slope", "at the end", "growth"]]
    for curve, series, points in curves(results):
        xs, ys = of_points(curve, points)
        if not ys:
            continue
        slopes = (exponent(xs, ys), exponent(xs[-2:], ys[-2:]))
        table.append(
            [
                curve.name,
                series,
                f"{points[0].x:,} to {points[-1].x:,} {curve.axis}",
                curve.figure,
                told(ys[0], curve.figure),
                told(ys[-1], curve.figure),
                f"{ys[-1] / ys[0]:.2f}" if ys[0] > 0 else "–",
                *("–" if slope is None else f"{slope:+.2f}" for slope in slopes),
                growth(xs, ys),
            ]
        )
    return table


def tables(results: list[Result]) -> dict[str, Table]:
    return {"": growths(results), "Points, medians of the rounds:": amounts(results)}


def for_programs(results: list[Result]) -> dict[str, Any]:
    def of(curve: Curve, series: str, points: list[Point]) -> dict[str, Any]:
        xs, ys = of_points(curve, points)
        return {
            "curve": curve.name,
            "of": series,
            "axis": curve.axis,
            "figure": curve.figure,
            "points": [{"x": point.x, **point.figures} for point in points],
            "slope": exponent(xs, ys),
            "slope_at_the_end": exponent(xs[-2:], ys[-2:]),
            "growth": growth(xs, ys),
        }

    return {"curves": [of(*one) for one in curves(results)]}
