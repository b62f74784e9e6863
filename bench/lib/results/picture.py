"""The picture of the README: what an operation costs, Soloist beside its peers. Drawn from the rows of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lib.host.errors import BenchError
from lib.results.ledger import Entry, Ledger
from lib.results.ledger_figures import Column, LedgerFigure, ledger_figure
from lib.results.svg import WIDTH, document, rectangle, rule, text

TITLE = "What does an operation cost? Soloist beside its peers"
NOTE = "Shorter bars are cheaper. Each shape of call has a scale of its own. Medians."

HEAD_HEIGHT = 44.0
PANEL_HEADING_HEIGHT = 34.0
BAR_PITCH, BAR_HEIGHT = 21.0, 13.0
# Shapes have two lines of text, also those with a single bar.
SHAPE_HEIGHT_MIN = 34.0
SHAPE_GAP = 12.0
LABEL_X, BAR_X = 240.0, 424.0
# For the value behind the longest bar.
VALUE_WIDTH = 136.0


@dataclass(frozen=True)
class Bar:
    """A figure of the ledger: a row of a section, and one of its two columns."""

    label: str
    section: str
    row: str
    column: Column


@dataclass(frozen=True)
class Shape:
    """A shape of call, and what it costs each system."""

    name: str
    description: str
    bars: list[Bar]


@dataclass(frozen=True)
class Panel:
    """Shapes whose cost is measured in the same way."""

    name: str
    shapes: list[Shape]


def beside_valkey(section: str, row: str) -> list[Bar]:
    """The bars of a row that compares Soloist with Valkey."""
    return [Bar("Soloist", section, row, "measured"), Bar("Valkey", section, row, "compared with")]


PANELS = [
    Panel(
        "Server CPU time for each operation, in memory",
        [
            Shape(
                "A Read in a call of its own",
                "110 calls at once on one connection",
                beside_valkey("unary", "calls : Valkey"),
            ),
            Shape(
                "The same",
                "14 at once on each of 8 connections",
                beside_valkey("unary", "8 connections : Valkey"),
            ),
            Shape(
                "The same",
                "one at a time on each of 110",
                beside_valkey("unary", "110 connections : Valkey"),
            ),
            Shape(
                "A Read in a frame of its own",
                "110 streams, each with 16 in flight",
                beside_valkey("pipeline-16", "frames of 1 : Valkey"),
            ),
            Shape(
                "A Read in a frame of 64",
                "8 streams, each with 16 frames in flight",
                [
                    Bar("Soloist", "pipeline-64", "frames of 64 : Valkey", "measured"),
                    Bar("Valkey, 1,024 in flight", "pipeline-64", "the same, as many in flight", "compared with"),
                    Bar("Valkey, 64 in flight", "pipeline-64", "frames of 64 : Valkey", "compared with"),
                ],
            ),
        ],
    ),
    Panel(
        "Time until a Read is answered, in memory",
        [
            Shape(
                "A Read in a call of its own",
                "one call at a time",
                beside_valkey("lone-caller", "p50 : Valkey"),
            ),
        ],
    ),
    Panel(
        "Wall-clock time for each operation, clients and server on the same two cores",
        [
            Shape(
                "Stateful goroutines",
                "110 workers, 5 keys; Soloist over TCP",
                [
                    Bar("Soloist, frames of 64", "goroutines", "frames : Go", "measured"),
                    Bar("Go, in one process", "goroutines", "frames : Go", "compared with"),
                ],
            ),
        ],
    ),
    Panel(
        "Wall-clock time for each durable Write, on disk before it is answered",
        [
            Shape(
                "A Write in a call of its own",
                "110 calls at once",
                [
                    Bar("Soloist", "writes", "unary : Valkey", "measured"),
                    Bar("Valkey, appendfsync always", "writes", "unary : Valkey", "compared with"),
                    Bar("etcd, one member", "writes", "unary : etcd", "compared with"),
                ],
            ),
            Shape(
                "A Write in a frame of its own",
                "110 streams, each with 16 in flight",
                [
                    Bar("Soloist", "writes", "pipeline : Valkey", "measured"),
                    Bar("Valkey, appendfsync always", "writes", "pipeline : Valkey", "compared with"),
                ],
            ),
        ],
    ),
    Panel(
        "Time until a durable Write is answered",
        [
            Shape(
                "A Write in a call of its own",
                "one call at a time",
                [
                    Bar("Soloist", "latency", "p50 : append", "measured"),
                    Bar("Valkey, appendfsync always", "latency", "p50 : Valkey", "compared with"),
                    Bar("append and fdatasync alone", "latency", "p50 : append", "compared with"),
                ],
            ),
        ],
    ),
]


@dataclass(frozen=True)
class Cost:
    label: str
    microseconds: float
    # Behind the bar.
    value: str
    entry: Entry

    @property
    def style(self) -> str:
        return "soloist" if self.label.startswith("Soloist") else "peer"


def read_cost(bar: Bar, figure: LedgerFigure) -> Cost:
    if figure.unit == "ops/s":
        microseconds = 1e6 / figure.value
        return Cost(bar.label, microseconds, f"{three_digits(microseconds)} µs ({three_digits(figure.value)}/s)", figure.entry)
    if figure.unit not in ("us", "us/op", "ms"):
        raise BenchError(f"the picture shows times, and the row {bar.row!r} of {bar.section} is in {figure.unit}")
    microseconds = figure.value * 1e3 if figure.unit == "ms" else figure.value
    return Cost(bar.label, microseconds, f"{three_digits(microseconds)} µs", figure.entry)


def three_digits(value: float) -> str:
    """Rounded to three digits, as in `0.360`, `9.30` and `1,980,000`."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{value:#.3g}"


# The costs of each shape of a panel.
PanelCosts = list[tuple[Shape, list[Cost]]]


def panel_costs(panel: Panel, ledger: Ledger) -> PanelCosts:
    """Leaves out figures that the ledger does not have, and shapes of which it has none."""
    shapes: PanelCosts = []
    for shape in panel.shapes:
        figures = ((bar, ledger_figure(ledger, bar.section, bar.row, bar.column)) for bar in shape.bars)
        costs = [read_cost(bar, figure) for bar, figure in figures if figure is not None]
        if costs:
            shapes.append((shape, costs))
    return shapes


def picture(ledger: Ledger) -> str:
    """An SVG of those shapes that the ledger has figures of."""
    panels = [(panel, shapes) for panel in PANELS if (shapes := panel_costs(panel, ledger))]
    if not panels:
        sections = sorted({bar.section for panel in PANELS for shape in panel.shapes for bar in shape.bars})
        raise BenchError(f"nothing to draw: the picture shows the sections {', '.join(sections)}")
    first = panels[0][1][0][1][0]
    elements = [text(0, 16, "title", TITLE), text(0, 35, "small", f"{NOTE} {first.entry.facts.get('Machine', '')}")]
    top = HEAD_HEIGHT
    for panel, shapes in panels:
        elements += panel_heading(panel, shapes, top)
        top += PANEL_HEADING_HEIGHT
        for shape, costs in shapes:
            elements += shape_elements(shape, costs, top)
            top += max(SHAPE_HEIGHT_MIN, BAR_PITCH * len(costs)) + SHAPE_GAP
    return document(elements, top - SHAPE_GAP, description(panels))


def panel_heading(panel: Panel, shapes: PanelCosts, top: float) -> Iterator[str]:
    entries = {cost.entry.time: cost.entry for _, costs in shapes for cost in costs}
    sources = "; ".join(source(entry) for entry in entries.values())
    yield rule(top)
    yield text(0, top + 19, "heading", panel.name)
    yield text(WIDTH, top + 19, "small end", sources)


def source(entry: Entry) -> str:
    """The date and commit of an entry."""
    commit, _, changes = entry.facts.get("Commit", "unknown").partition(" ")
    return f"{entry.time.partition(' ')[0]}, commit {commit[:7]}{' with changes' if changes else ''}"


def shape_elements(shape: Shape, costs: list[Cost], top: float) -> Iterator[str]:
    yield text(0, top + 11, "name", shape.name)
    yield text(0, top + 26, "small", shape.description)
    largest = max(cost.microseconds for cost in costs)
    for number, cost in enumerate(costs):
        bar_top = top + BAR_PITCH * number
        baseline = bar_top + BAR_HEIGHT - 2
        length = max(1.0, cost.microseconds / largest * (WIDTH - VALUE_WIDTH - BAR_X))
        yield text(LABEL_X, baseline, "label", cost.label)
        yield rectangle(BAR_X, bar_top, length, BAR_HEIGHT, cost.style)
        yield text(BAR_X + length + 6, baseline, "small", cost.value)


def description(panels: list[tuple[Panel, PanelCosts]]) -> str:
    parts = [TITLE]
    for panel, shapes in panels:
        for shape, costs in shapes:
            figures = ", ".join(f"{cost.label} {cost.value}" for cost in costs)
            parts.append(f"{panel.name}: {shape.name} ({shape.description}): {figures}")
    return ". ".join(parts)
