"""The editor: its answer to a step of the strength slider, beside drawing the tiles of the answer."""

from collections.abc import Iterator
from itertools import count

import torch

from apps.bench.clock import seconds
from apps.bench.lines import Line, Pair
from apps.bench.subject import Subject
from apps.editor.data_urls import urls
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.session import Session
from apps.editor.stack import Entry
from rewrite import solve

TILES = 16


def strength(subject: Subject) -> Iterator[Pair]:
    """Steps of the slider of one rule: the session changes it, and gives all tiles as the page gets them."""
    rule = subject.rule(0)
    patch = solve(subject.generator, subject.memory(), rule)
    session = Session(Models(Options(subject.named, segmenter="none", tiles=TILES)))
    session.rules.add(Entry("a rule", patch, rule=rule))
    drawer, seeds = session.model.drawer, session.draft.seeds
    with torch.no_grad():
        latents = drawer.generator.latents(seeds)

    def answer(to: float) -> None:
        session.rules.strengthen(0, to, keep=False)
        urls(session.after())

    @torch.no_grad()
    def draw() -> None:
        with patch.applied(drawer.generator):
            drawer.generator.images(latents)

    answer(1.0)
    for number in count(1):
        drawing = seconds(draw)
        # A strength that the wall did not show before.
        yield Pair(seconds(lambda number=number: answer(2 / (1 + number / 7))), drawing)


LINES = (
    Line(
        "editor",
        f"the editor's answer to a step of the strength slider: all {TILES} tiles, as the page gets them",
        f"drawing these {TILES} images anew, edited, in one batch",
        strength,
        rounds=(9, 5),
        notes="by the session of the editor's server, without a browser and HTTP; what comes before the edited layer "
        "is kept from one answer to the next",
    ),
)
