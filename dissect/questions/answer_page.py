"""An answer as HTML: a part of a page, and a page that needs nothing else."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from dissect.questions.answer import Answer, Renamed
from dissect.questions.examination import Examination
from dissect.questions.heats import heats, tops
from rewrite.reports.rendering import png_url, render

FOLDER = Path(__file__).parent / "templates"
CSS = FOLDER / "answer.css"
# Of each kind of pictures; the classes of the table, those that lose most.
MOST_SHOWN, MOST_CLASSES = 24, 20
MOST_UNITS, TOPS = 24, 4
# Smaller pictures stay as sharp as they are.
LEAST_JPEG = 32


def numbers_in(answer: Answer, pictures: int = 0) -> list[int]:
    """The pictures that an answer shows: those that are named otherwise, and some that are asked about.

    Args:
        answer: The answer.
        pictures: How many of the latter.
    """
    renamed = (*answer.lost[:MOST_SHOWN], *answer.gained[:MOST_SHOWN], *answer.otherwise[:MOST_SHOWN])
    return list(dict.fromkeys(each.number for each in (*renamed, *_shown(answer, pictures))))


def answer_html(answer: Answer, tiles: Mapping[int, str], *, pictures: int = 0, live: bool = False) -> Markup:
    """An answer as a part of a page.

    Args:
        answer: The answer.
        tiles: The pictures that it shows, as addresses; see `numbers_in`.
        pictures: How many of the pictures that are asked about are shown.
        live: Whether pictures can be chosen.
    """
    question = answer.question
    found = [(number, pair) for number in range(len(answer.classes)) if (pair := answer.balanced(number))]
    found.sort(key=lambda each: each[1][1].value - each[1][0].value)
    rows = [{"name": answer.classes[number], "before": pair[0], "after": pair[1]} for number, pair in found]
    right = answer.right
    return Markup(
        render(
            FOLDER / "_answer.html",
            sentence=answer.sentence,
            asked=answer.classes[question.number],
            off=question.off,
            at=question.at,
            balanced=answer.balanced(question.number),
            right=right,
            # Whether the pictures are other ones than the whole class, or all.
            partial=right["subset"].pictures < answer.overall.pictures,
            overall=answer.overall,
            lost=answer.lost,
            gained=answer.gained,
            otherwise=answer.otherwise,
            classes=answer.classes,
            rows=rows[:MOST_CLASSES],
            count=len(rows),
            shown=_shown(answer, pictures),
            tiles=tiles,
            most=MOST_SHOWN,
            live=live,
        )
    )


def answer_page(examination: Examination, answer: Answer, *, title: str, command: str) -> str:
    """Write an answer as HTML that needs nothing else.

    Args:
        examination: What was asked.
        answer: The answer.
        title: What was looked at.
        command: What starts an editor that answers the same question again.

    Returns:
        The page.
    """
    question = answer.question
    units = question.off[:MOST_UNITS]
    pairs = [(unit, number) for unit in units for number in tops(examination, unit, TOPS)]
    drawn = dict(zip(pairs, map(address_of, heats(examination, pairs)), strict=True))
    return render(
        FOLDER / "answer_page.html",
        title=title,
        css=CSS.read_text(encoding="utf-8"),
        off=question.off,
        part=question.part,
        subset=question.subset.told(answer.classes),
        overall=answer.overall,
        pictures=examination.pictures.identity,
        body=answer_html(answer, tiles_of(examination, numbers_in(answer))),
        units=[{"unit": unit, "tiles": [drawn[pair] for pair in pairs if pair[0] == unit]} for unit in units],
        command=command,
        link=question.query(answer.classes, examination.about),
    )


def tiles_of(examination: Examination, numbers: Sequence[int]) -> dict[int, str]:
    """Pictures by number, as addresses that hold them.

    Args:
        examination: Where they are from.
        numbers: The pictures.
    """
    found = examination.gallery.shown(numbers)
    return {number: address_of(Image.fromarray(picture)) for number, picture in found.items()}


def address_of(picture: Image.Image) -> str:
    """A picture as an address that holds it; JPEG takes a fifth of the time of PNG."""
    if min(picture.size) < LEAST_JPEG:
        return png_url(picture)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def _shown(answer: Answer, count: int) -> list[Renamed]:
    """The first of the pictures that are asked about."""
    places = answer.chosen.nonzero()[:count, 0].tolist()
    seen = answer.seen
    return [
        Renamed(seen.numbers[each], int(seen.truth[each]), int(seen.named[each]), int(answer.after[each]))
        for each in places
    ]
