"""What was measured, kept as it comes, so that a run goes on where the last one ended."""

import json
from pathlib import Path
from typing import Any


class Points:
    """The points that were measured, one JSON object a line.

    Args:
        path: Where they are kept; nowhere if None.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def add(self, **row: Any) -> None:
        """Keep a point."""
        self.rows.append(json.loads(json.dumps(row)))
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def of(self, **where: Any) -> list[dict[str, Any]]:
        """The points that have these values."""
        return [row for row in self.rows if json.loads(json.dumps(where)).items() <= row.items()]
