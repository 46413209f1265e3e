"""What a run has measured so far, kept in a file, so that one that was ended goes on with the lines that are left."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from apps.bench.lines import Line, Pair, Row, SkippedError
from apps.bench.subject import Subject
from rewrite.progress import stage_bar
from rewrite.storage import files

KIND = "file of a bench"


class Measured:
    """The rows that were measured.

    Args:
        path: Where they are kept; nowhere if None.
        identity: What all of them are of: other rows are no part of one table.

    Raises:
        ValueError: The file is damaged, or of another run.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]):
        self.path, self.identity, self._kept = path, dict(identity), dict[str, Any]()
        if path is not None and path.exists():
            found = files.read_json(path, KIND)
            if not isinstance(found, dict) or not isinstance(found.get("rows"), dict):
                raise ValueError(f"{path} is not a valid {KIND}")
            if found.get("identity") != json.loads(json.dumps(self.identity)):
                raise ValueError(
                    f"{path} was measured with other options or versions: name another folder, or delete it"
                )
            self._kept = found["rows"]

    def row(self, line: Line, key: str) -> Row | None:
        """What is known of a line by its key.

        Raises:
            ValueError: The file is damaged.
        """
        found = self._kept.get(key)
        if found is None:
            return None
        try:
            pairs = [Pair(float(ours), float(reference), dict(figures)) for ours, reference, figures in found]
            return Row(line, pairs)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is not a valid {KIND}: {error}") from None

    def keep(self, row: Row, key: str) -> None:
        """Keep what was measured of a line; what was skipped is tried again."""
        if row.skipped:
            return
        self._kept[key] = row.pairs
        if self.path is not None:
            kept = {"identity": self.identity, "rows": self._kept}
            files.write_text(self.path, json.dumps(kept, indent=1) + "\n")


def measured(lines: Sequence[Line], subject: Subject, kept: Measured) -> list[Row]:
    """Measure the lines that are not known yet, with a progress bar; returns the rows of all."""
    rows, rounds = [], {line.name: line.rounds[subject.quick] for line in lines}
    with stage_bar(sum(rounds.values()), "bench", "round") as bar:
        for line in lines:
            bar.set_description(f"bench: {line.name}")
            key = f"{line.name} {subject.peer.kind}" if line.of_peer and subject.peer else line.name
            row = kept.row(line, key)
            if row is None:
                row = taken(line, subject, rounds[line.name], bar.update)
                kept.keep(row, key)
                bar.update(0 if row.pairs else rounds[line.name])
            else:
                bar.update(rounds[line.name])
            rows.append(row)
    return rows


def taken(line: Line, subject: Subject, rounds: int, on_round: Any) -> Row:
    """Measure one line."""
    pairs = []
    try:
        with closing(line.pairs(subject)) as coming:
            for pair in islice(coming, rounds):
                pairs.append(pair)
                on_round()
    except (ValueError, LookupError) as error:
        # Generators of others have layers that one line or another refuses, in a sentence.
        if subject.built_in and not isinstance(error, SkippedError):
            raise
        return Row(line, skipped=str(error.args[0]))
    return Row(line, pairs)
