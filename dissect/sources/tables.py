"""Tables that come with labelled pictures: which pictures there are, what the label numbers stand for."""

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rewrite.storage.quoting import reason_of

LARGEST = 2**28


def read_text(path: Path) -> str:
    """A table as text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is too large or no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"a table has at most {LARGEST} bytes, {path} has {path.stat().st_size}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except ValueError:
        raise ValueError(f"{path} is not a text in UTF-8") from None


def read_rows(path: Path, needed: Iterable[str], separator: str = ",") -> list[Mapping[str, str]]:
    """The rows of a table by the names of its columns.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a table, has no row, or a needed column or a cell is missing.
    """
    try:
        reader = csv.DictReader(StringIO(read_text(path), newline=""), delimiter=separator)
        rows: list[Any] = list(reader)
        columns = reader.fieldnames or ()
    except csv.Error as error:
        raise ValueError(f"{path} is not a table: {reason_of(error)}") from None
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(f"{path} needs a column {missing[0]}, it has {', '.join(columns) or 'none'}")
    for number, row in enumerate(rows, 1):
        if None in row.values() or any(row.get(None, ())):
            raise ValueError(f"row {number} of {path} needs {len(columns)} cells, as many as its header has")
    if not rows:
        raise ValueError(f"{path} has a header and no row")
    return rows
