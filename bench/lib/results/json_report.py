"""Results for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median
from typing import Any

from lib.measure.model import Result, Row


def as_json(schema: str, results: list[Result], told: list[str], failures: list[str]) -> dict[str, Any]:
    def of_row(result: Result, row: Row) -> dict[str, Any]:
        return {
            "section": result.section.name,
            "row": row.name,
            "what": row.what,
            "ours": {"side": row.ours[0], "figure": row.ours[1], "median": median(result.of(row.ours))},
            "peer": row.peer and {"side": row.peer[0], "figure": row.peer[1], "median": median(result.of(row.peer))},
            "ratio": result.ratio(row),
            "bound": row.bound,
            "goal": row.goal,
            "reached": result.reached(row),
        }

    return {
        "schema": schema,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "facts": told,
        "rows": [of_row(result, row) for result in results for row in result.section.rows],
        "rounds": {result.section.name: result.rounds for result in results},
        "others_cores": {result.section.name: result.others for result in results},
        "commands": {result.section.name: result.commands for result in results},
        "did_not_run": failures,
    }
