"""How a curve grows: the form that fits its points best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Points that differ by less are noise: the rounds of one point differ by about as much on a machine that is nearly quiet.
FLAT_MAX = 1.2
# A form that misses the points by less than a tenth more or less is no better and no worse.
SAME_FIT = 1.1
# The slope of the last two points from which on the quadratic form is tried.
QUADRATIC_SLOPE_MIN = 1.2
NOT_FITTED = "–"


@dataclass(frozen=True)
class Form:
    """y = a + b * term(x)."""

    name: str
    term: Callable[[float], float]
    # The formula, with a and b to be filled in.
    formula: str


@dataclass(frozen=True)
class Fit:
    form: Form
    a: float
    b: float
    # The root of the mean square of the relative errors.
    error: float

    def __str__(self) -> str:
        name = self.form.name if self.b > 0 else f"falls, {self.form.name}"
        return f"{name}: {self.form.formula.format(a=self.a, b=self.b)} (± {self.error:.0%})".replace("+ -", "- ")


# From the slowest growth to the fastest: of two forms that fit alike, the first is taken. All have two parameters, so none
# fits better only because it can bend more.
FORMS = [
    Form("shared out", lambda x: 1 / max(x, 1.0), "{a:.3g} + {b:.3g}/x"),
    Form("log n", lambda x: math.log2(max(x, 1.0)), "{a:.3g} + {b:.3g} log2 x"),
    Form("linear", lambda x: x, "{a:.3g} + {b:.3g} x"),
]
QUADRATIC = Form("quadratic", lambda x: x * x, "{a:.3g} + {b:.3g} x^2")


def growth_text(xs: Sequence[float], ys: Sequence[float]) -> str:
    """The growth in words, with the fitted formula and its error."""
    if len(ys) < 2 or min(ys) <= 0:
        return NOT_FITTED
    if max(ys) <= FLAT_MAX * min(ys):
        return "flat"
    if len(ys) < 3:
        return "two points"
    return str(best_fit(xs, ys))


def best_fit(xs: Sequence[float], ys: Sequence[float]) -> Fit:
    end_slope = log_log_slope(xs[-2:], ys[-2:])
    forms = [*FORMS, QUADRATIC] if end_slope is not None and end_slope > QUADRATIC_SLOPE_MIN else FORMS

    def grade(fit: Fit) -> int:
        return round(math.log(max(fit.error, 1e-3)) / math.log(SAME_FIT))

    return min((fit_form(form, xs, ys) for form in forms), key=grade)


def fit_form(form: Form, xs: Sequence[float], ys: Sequence[float]) -> Fit:
    """Least squares of the relative errors, so that small figures count like large ones."""
    terms = [form.term(x) for x in xs]
    weights = [1 / (y * y) for y in ys]
    total = sum(weights)
    mean_term = sum(w * term for w, term in zip(weights, terms, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    variance = sum(w * (term - mean_term) ** 2 for w, term in zip(weights, terms, strict=True))
    covariance = sum(w * (term - mean_term) * (y - mean_y) for w, term, y in zip(weights, terms, ys, strict=True))
    b = covariance / variance
    a = mean_y - b * mean_term
    errors = [(y - a - b * term) / y for term, y in zip(terms, ys, strict=True)]
    return Fit(form, a, b, math.sqrt(sum(error * error for error in errors) / len(errors)))


def log_log_slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """The slope in log-log: 0 is flat, 1 is proportional. None if fewer than two points have logarithms."""
    logs = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True) if x > 0 and y > 0]
    if len(logs) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
