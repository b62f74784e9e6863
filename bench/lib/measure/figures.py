"""The figures of one run, by name, and their text."""

from __future__ import annotations

from collections.abc import Iterable

# A name ends in its unit: "ops/s", "server us/op", "p99 us".
Figures = dict[str, float]
# The cores that processes other than the server and its clients used.
OTHERS_CORES = "others cores"


def quantile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def figures_text(figures: Figures) -> str:
    return ", ".join(figure_text(value, name) for name, value in figures.items())


def figure_text(value: float, figure: str) -> str:
    """A figure with its name and unit, as in `p99 1.50 ms`."""
    name, unit = figure_name(figure), figure_unit(figure)
    if unit == "us":
        # The value has its unit already.
        return f"{name} {value_text(value, unit)}".strip()
    return f"{name} {value_text(value, unit)} {unit}".strip()


def figure_name(figure: str) -> str:
    """The name without its unit."""
    return figure.rpartition(" ")[0]


def figure_unit(figure: str) -> str:
    return figure.rpartition(" ")[2]


def value_text(value: float, unit: str) -> str:
    """A value with as many digits as its unit deserves. Only microseconds come with a unit, as they may become milliseconds."""
    if unit == "us":
        return f"{value / 1e3:.2f} ms" if value >= 1e3 else f"{value:.0f} us"
    if unit == "us/op":
        return f"{value:.3f}"
    if unit in ("s", "cores"):
        return f"{value:.2f}"
    return f"{value:,.0f}"
