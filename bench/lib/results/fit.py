"""How a curve grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What differs by less is noise: about what rounds of one point differ by on a machine that is not quite quiet.
FLAT = 1.2


@dataclass(frozen=True)
class Shape:
    """A way to grow: y = a + b * of(x)."""

    name: str
    of: Callable[[float], float]
    # The same with a and b.
    form: str


def logarithm(x: float) -> float:
    return math.log2(max(x, 1.0))


# None of them has more than two parameters, so what fits best needs no other advantage. From the slowest on: of two that
# fit alike the first is taken.
SHAPES = [
    Shape("shared out", lambda x: 1 / max(x, 1.0), "{a:.3g} + {b:.3g}/x"),
    Shape("log n", logarithm, "{a:.3g} + {b:.3g} log2 x"),
    Shape("linear", lambda x: x, "{a:.3g} + {b:.3g} x"),
]
# Fitted only to what grows faster than x at the end.
QUADRATIC = Shape("quadratic", lambda x: x * x, "{a:.3g} + {b:.3g} x^2")
FASTER_THAN_LINEAR = 1.2


def fitted(shape: Shape, xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """a, b and the root of the mean square of what is missed, as a part of each y: small figures count like large ones."""
    zs = [shape.of(x) for x in xs]
    weights = [1 / (y * y) for y in ys]
    total = sum(weights)
    mean_z = sum(w * z for w, z in zip(weights, zs, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = sum(w * (z - mean_z) ** 2 for w, z in zip(weights, zs, strict=True))
    both = sum(w * (z - mean_z) * (y - mean_y) for w, z, y in zip(weights, zs, ys, strict=True))
    b = both / spread
    a = mean_y - b * mean_z
    missed = [(y - a - b * z) / y for z, y in zip(zs, ys, strict=True)]
    return a, b, math.sqrt(sum(one * one for one in missed) / len(missed))


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """The slope in log-log, from the points that have a logarithm: 0 is flat, 1 is proportional."""
    logs = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True) if x > 0 and y > 0]
    if len(logs) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def growth(xs: Sequence[float], ys: Sequence[float]) -> str:
    """In words, and as a formula that can be argued with."""
    if len(ys) < 2 or min(ys) <= 0:
        return "–"
    if max(ys) <= FLAT * min(ys):
        return "flat"
    if len(ys) < 3:
        return "two points"
    end = exponent(xs[-2:], ys[-2:])
    shapes = [*SHAPES, QUADRATIC] if end is not None and end > FASTER_THAN_LINEAR else SHAPES
    fits = [(shape, *fitted(shape, xs, ys)) for shape in shapes]
    # A tenth of an improvement is none.
    best = min(fits, key=lambda fit: round(math.log(max(fit[3], 1e-3)) / math.log(1.1)))
    shape, a, b, missed = best
    name = shape.name if b > 0 else f"falls, {shape.name}"
    return f"{name}: {shape.form.format(a=a, b=b)} (± {missed:.0%})".replace("+ -", "- ")
