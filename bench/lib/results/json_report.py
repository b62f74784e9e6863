"""Results as JSON: everything that was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lib.measure.model import FigureKey, Result, Row
from lib.results.facts import Facts


def json_report(schema: str, results: list[Result], facts: Facts, failures: list[str]) -> dict[str, Any]:
    return {
        "schema": schema,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "facts": [f"{label}: {text}" for label, text in facts.items()],
        "rows": [row_json(result, row) for result in results for row in result.section.rows],
        "rounds": {result.section.name: result.rounds for result in results},
        "others_cores": {result.section.name: result.others_cores_max or 0.0 for result in results},
        "commands": {result.section.name: result.commands for result in results},
        "did_not_run": failures,
    }


def row_json(result: Result, row: Row) -> dict[str, Any]:
    def figure_json(key: FigureKey) -> dict[str, Any]:
        return {"side": key[0], "figure": key[1], "median": result.median(key)}

    return {
        "section": result.section.name,
        "row": row.name,
        "what": row.description,
        "ours": figure_json(row.measured),
        "peer": row.baseline and figure_json(row.baseline),
        "ratio": result.ratio(row),
        "bound": row.bound,
        "goal": row.goal,
        "reached": result.goal_reached(row),
    }
