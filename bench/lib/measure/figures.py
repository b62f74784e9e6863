"""What a run tells: figures by name, and their text."""

from __future__ import annotations

from collections.abc import Iterable

# What one run of one side tells: figures by name, which ends in their unit.
Figures = dict[str, float]


def quantile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


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
