"""Names of labels, as data sets and networks give them."""

import re
from collections.abc import Iterable
from pathlib import Path

from dissect.sources.tables import read_rows, read_text
from rewrite.storage.quoting import quoted

NUMBER, NAME = "Idx", "Name"


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number after each that stood before: tree, tree 2, tree 3."""
    found: dict[str, None] = {}
    last: dict[str, int] = {}
    for plain in names:
        name, times = plain, last.get(plain, 1)
        while name in found:
            times += 1
            name = f"{plain} {times}"
        found[name], last[plain] = None, times
    return tuple(found)


def read_names(path: Path) -> dict[int, str]:
    """The name of each label number.

    The file is a table with the columns Idx and Name and tabs or commas between its cells, as ADE20K's
    objectInfo150.txt is, or a plain list: one name a line, the first line for label 1. Of several names for one label,
    with commas or semicolons between them, the first is taken.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a text, names nothing, or a number is none or stands twice.
    """
    lines = read_text(path).splitlines()
    separator = "\t" if lines and "\t" in lines[0] else ","
    if lines and {NUMBER, NAME} <= set(lines[0].split(separator)):
        named = [(row[NUMBER], row[NAME]) for row in read_rows(path, (NUMBER, NAME), separator)]
    else:
        named = [(str(number), line) for number, line in enumerate(lines, 1)]
    return numbered([(number, re.split("[,;]", names)[0]) for number, names in named], path)


def numbered(named: Iterable[tuple[str, str]], path: Path) -> dict[int, str]:
    """Names by their numbers; a number without a name is left out.

    Raises:
        ValueError: There is no name, or a number is none, is above 65535, or stands twice.
    """
    found: dict[int, str] = {}
    for text, name in named:
        if not name.strip():
            continue
        number = int(text) if text.strip().isdecimal() and len(text.strip()) < 6 else -1
        if number in found or not 0 <= number < 2**16:
            raise ValueError(
                f"labels have different numbers from 0 to 65535, {path} gives {quoted(name.strip())} {quoted(text)}"
            )
        found[number] = name.strip()
    if not found:
        raise ValueError(f"{path} names no label")
    return found
