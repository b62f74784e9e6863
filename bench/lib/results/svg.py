"""Results as a picture: for each goal, how far it is reached.

Bars leave the line of the goals to the right where a goal is reached and to the left where it is missed, on a logarithmic
axis, as twice as good and half as good are equally far. A few lines of SVG: it needs nothing installed, a change of the
figures is a small diff, and the colours can follow the reader's scheme, which those of a plotting library do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape, quoteattr

from lib.measure.figures import amount, shown
from lib.measure.model import Result, Row

# With both margins about what a README has on GitHub.
WIDTH = 808.0
MARGIN = 16.0
LINE = 40.0
BAR = 16.0
HEAD = 70.0
NAME_SIZE, SMALL_SIZE = 13.0, 11.0
# Of a character, in its size: wider than those of any usual font are on average.
CHARACTER = 0.56
# For the figure at the end of a bar.
LABEL = 46.0
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
# Between the middles of two numbers of the axis.
TICK_GAP = 38.0
# GitHub's own colours, of which those of bars are told apart without red and green. There is a ground, as the page may be
# light where the reader's scheme is dark; labels have a rim of it where lines pass behind them.
STYLE = """
.ground { fill: #ffffff }
text { font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e; stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
.name { font-size: 13px; font-weight: 600 }
.title { font-size: 16px; font-weight: 600 }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.goal { stroke: #1f2328; stroke-width: 1.5 }
.reached { fill: #0969da }
.missed { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .ground { fill: #0d1117 }
  .small { fill: #9198a1; stroke: #0d1117 }
  .grid { stroke: #3d444d }
  .goal { stroke: #f0f6fc }
  .reached { fill: #4493f8 }
  .missed { fill: #db6d28 }
}
"""


@dataclass(frozen=True)
class Bar:
    """A row with a goal."""

    name: str
    figures: str
    goal: str
    reached: bool
    # How many times as good as the goal: 1 is just as good.
    times: float


def bar_of(result: Result, row: Row) -> Bar | None:
    reached = result.reached(row)
    if row.goal is None or reached is None:
        return None
    value = result.compared(row)
    figures = amount(median(result.of(row.ours)), row.ours[1])
    if row.peer is None:
        goal = f"{row.bound} {row.goal:,.10g}"
    else:
        figures += f" against {shown(median(result.of(row.peer)), row.peer[1].split()[-1])}"
        goal = f"{value:.3g} {row.bound} {row.goal:g}" if reached else f"{value:.3g}, not {row.bound} {row.goal:g}"
    times = row.goal / value if row.bound == "≤" else value / row.goal
    return Bar(f"{result.section.name}: {row.name}", figures, goal, reached, times)


class Axis:
    """From how many times the goal to where on the picture."""

    def __init__(self, bars: list[Bar], left: float, right: float) -> None:
        values = [bar.times for bar in bars]
        self.low = max(tick for tick in TICKS if tick <= max(TICKS[0], min([*values, 0.5])))
        self.high = min(tick for tick in TICKS if tick >= min(TICKS[-1], max([*values, 2.0])))
        self.left, self.right = left, right

    def __call__(self, times: float) -> float:
        inside = min(max(times, self.low), self.high)
        part = math.log(inside / self.low) / math.log(self.high / self.low)
        return self.left + part * (self.right - self.left)

    def ticks(self) -> Iterator[float]:
        """Those that do not touch each other, nor the word in the place of 1."""
        placed = [self(1.0)]
        for tick in sorted((tick for tick in TICKS if self.low <= tick <= self.high), key=lambda tick: abs(math.log(tick))):
            if all(abs(self(tick) - place) >= TICK_GAP for place in placed):
                placed.append(self(tick))
                yield tick


def text(x: float, y: float, kind: str, content: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'


def line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" class="{kind}"/>'


def one_bar(bar: Bar, axis: Axis, top: float) -> Iterator[str]:
    start, end = sorted((axis(1.0), axis(bar.times)))
    kind = "reached" if bar.reached else "missed"
    middle = top + LINE / 2
    yield text(0, middle - 3, "name", bar.name)
    yield text(0, middle + 12, "small", bar.figures)
    yield (
        f'<rect x="{start:.1f}" y="{middle - BAR / 2:.1f}" width="{max(1.0, end - start):.1f}" height="{BAR:g}" class="{kind}"/>'
    )
    label = f"{bar.times:.2f}×" if bar.times < 10 else f"{bar.times:.0f}×"
    yield text(end + 5, middle + 4, "small", label) if bar.times >= 1 else text(start - 5, middle + 4, "small end", label)
    yield text(WIDTH, middle + 4, "small end", bar.goal)


def drawing(results: list[Result], caption: str) -> str:
    bars = [bar for result in results for row in result.section.rows if (bar := bar_of(result, row))]
    words = max(max(len(bar.name) * NAME_SIZE * 1.04, len(bar.figures) * SMALL_SIZE) for bar in bars) * CHARACTER
    goals = max(len(bar.goal) for bar in bars) * SMALL_SIZE * CHARACTER
    axis = Axis(bars, words + LABEL, WIDTH - goals - LABEL)
    bottom = HEAD + LINE * len(bars)
    reached = sum(bar.reached for bar in bars)
    told = f"Soloist beside its peers: {reached} of {len(bars)} goals are reached"
    alternative = quoteattr("; ".join([told, *(f"{bar.name}: {bar.times:.2f} of the goal" for bar in bars)]))
    width, height = WIDTH + 2 * MARGIN, bottom + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-label={alternative}>',
        f"<style>{STYLE}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="6" class="ground"/>',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
        text(0, 16, "title", told),
        text(0, 34, "small", caption),
        text(WIDTH, HEAD - 8, "small end", "ratio and goal"),
        text(axis(1.0), HEAD - 8, "small middle", "goal"),
    ]
    for tick in axis.ticks():
        parts += [line(axis(tick), HEAD, bottom, "grid"), text(axis(tick), HEAD - 8, "small middle", f"{tick:g}×")]
    for index, bar in enumerate(bars):
        parts += one_bar(bar, axis, HEAD + LINE * index)
    return "\n".join([*parts, line(axis(1.0), HEAD, bottom, "goal"), "</g>", "</svg>", ""])
