"""Results as tables, and tables as text."""

from __future__ import annotations

from statistics import median

from lib.measure.figures import amount, said
from lib.measure.model import Cell, Result

Table = list[list[str]]


def summary(results: list[Result]) -> Table:
    table = [["section", "row", "Soloist", "beside", "ratio", "goal", "reached"]]
    for result in results:
        for row in result.section.rows:
            ratio, reached = result.ratio(row), result.reached(row)
            unit = f" {row.ours[1].split()[-1]}" if row.peer is None else ""
            table.append(
                [
                    result.section.name,
                    row.name,
                    of_cell(result, row.ours),
                    of_cell(result, row.peer),
                    "–" if ratio is None else f"{ratio:.3g}" if ratio < 1 else f"{ratio:.2f}",
                    "–" if row.goal is None else f"{row.bound} {row.goal:,.10g}{unit}",
                    {True: "yes", False: "no", None: "–"}[reached],
                ]
            )
    return table


def of_cell(result: Result, cell: Cell | None) -> str:
    if cell is None:
        return "–"
    side, figure = cell
    return f"{side}: {amount(median(result.of(cell)), figure)}"


def every_run(results: list[Result]) -> Table:
    table = [["section", "round", "side", "figures"]]
    for result in results:
        for number, sides in enumerate(result.rounds, 1):
            table += [[result.section.name, str(number), side, said(figures)] for side, figures in sides.items()]
    return table


def commands(results: list[Result]) -> str:
    """What was run, to be tried by hand."""
    parts = []
    for result in results:
        rows = "\n".join(f"#   {row.name}: {row.what}" for row in result.section.rows)
        lines = "\n".join(f"# {role}\n{command}" for role, command in result.commands.items())
        parts.append(f"### {result.section.name}: {result.section.what}\n{rows}\n{lines}")
    return "\n\n".join(parts)


def plain(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


def markdown(table: Table) -> str:
    lines = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
