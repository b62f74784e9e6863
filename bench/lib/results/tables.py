"""Results as tables, and tables as text."""

from __future__ import annotations

from lib.measure.figures import figure_text, figure_unit, value_text
from lib.measure.model import FigureKey, Result, Row

# The heading and the lines below it.
Table = list[list[str]]

NOTHING = "–"
ROWS_HEADING = ["section", "row", "measured", "compared with", "ratio", "each round", "goal", "reached", "others"]


def rows_table(results: list[Result]) -> Table:
    """A line for each row: medians of the rounds, and the ratio (or, without a baseline, the figure) of each round."""
    return [ROWS_HEADING, *(row_line(result, row) for result in results for row in result.section.rows)]


def row_line(result: Result, row: Row) -> list[str]:
    ratio, reached = result.ratio(row), result.goal_reached(row)
    unit = figure_unit(row.measured[1])
    if ratio is None:
        rounds = [value_text(value, unit) for value in result.values(row.measured)]
    else:
        rounds = [ratio_text(value) for value in result.ratios(row)]
    goal = NOTHING if row.goal is None else f"{row.bound} {row.goal:,.10g}{f' {unit}' if row.baseline is None else ''}"
    return [
        result.section.name,
        row.name,
        figure_cell(result, row.measured),
        NOTHING if row.baseline is None else figure_cell(result, row.baseline),
        NOTHING if ratio is None else ratio_text(ratio),
        "; ".join(rounds),
        goal,
        {True: "yes", False: "no", None: NOTHING}[reached],
        NOTHING if result.others_cores_max is None else f"{result.others_cores_max:.2f}",
    ]


def figure_cell(result: Result, key: FigureKey) -> str:
    """As in `Valkey: server 9.297 us/op`."""
    side, figure = key
    return f"{side}: {figure_text(result.median(key), figure)}"


def ratio_text(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio < 1 else f"{ratio:.2f}"


def commands_text(result: Result) -> str:
    """The commands of a section's servers and clients, for trying them by hand."""
    rows = [f"#   {row.name}: {row.description}" for row in result.section.rows]
    commands = [f"# {role}\n{command}" for role, command in result.commands.items()]
    return "\n".join([f"### {result.section.name}: {result.section.description}", *rows, *commands])


def plain_text(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


def markdown(table: Table) -> str:
    lines = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
