"""Rules as a person marks them: one copy, one paste and a few contexts."""

from dataclasses import dataclass

import numpy as np

from dissect.regions import Thing, things
from dissect.scenes import TOPS
from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Latent, Mask, Region, Rule, Settings

FIRST_MARKED, MARKED = 20_000, 300
LEAST_PLACE, LEAST_COPY = 20, 30


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes:
        layer: Where the rule is solved.
        replaced: The concepts whose regions are marked as places.
        target: The concept that is copied.
    """

    layer: str
    replaced: tuple[str, ...]
    target: str


TASKS = {
    "tree for tops": Task("b32.conv1", TOPS, "tree"),
    "dome for spires": Task("b32.conv1", ("spire",), "dome"),
    "window for doors": Task("b32.conv1", ("door",), "window"),
}


class Marks:
    """The regions that a person could mark for a task."""

    def __init__(self, generator: Generator, task: Task):
        self.generator, self.task, seeds = generator, task, range(FIRST_MARKED, FIRST_MARKED + MARKED)
        source = SegmenterSource()
        self.copies = things(generator, source, [task.target], seeds, least=LEAST_COPY)
        self.places: dict[int, list[Thing]] = {}
        for place in things(generator, source, task.replaced, seeds, least=1, inside=False):
            self.places.setdefault(place.region.latent.seed, []).append(place)
        self.clear = sorted(seed for seed, found in self.places.items() if any(p.pixels >= LEAST_PLACE for p in found))

    def rule(self, contexts: int, draw: int) -> Rule:
        """A rule of one copy, whose places are all that one image and `contexts` more show."""
        random = np.random.default_rng(1000 + draw)
        copy = self.copies[random.integers(len(self.copies))]
        chosen = random.permutation(self.clear)[: contexts + 1]
        first, *more = (place.region for seed in chosen for place in self.places[int(seed)])
        return Rule(
            name=f"{self.task.target} {draw}",
            model=self.generator.fingerprint,
            layer=self.task.layer,
            copy=(copy.region,),
            paste=first,
            context=tuple(more),
            anchor="bottom",
            effect={"from": list(self.task.replaced), "to": self.task.target},
        )


def rule_on(generator: Generator, layer: str, contexts: int, settings: Settings, first: int = 1) -> Rule:
    """A rule of one copy, one paste and some contexts, each an eighth of the image wide and high, from a seed on."""
    height, width = generator.size

    def region(seed: int, down: float, along: float) -> Region:
        mask = np.zeros(generator.size, dtype=bool)
        top, left = int(down * height), int(along * width)
        mask[top : top + height // 8, left : left + width // 8] = True
        return Region(Latent(seed), Mask.from_array(mask))

    return Rule(
        name="a mark",
        model=generator.fingerprint,
        layer=layer,
        copy=(region(first, 0.4, 0.4),),
        paste=region(first + 1, 0.25, 0.5),
        context=tuple(region(first + 2 + i, 0.25 + 0.05 * i, 0.2 + 0.1 * i) for i in range(contexts)),
        settings=settings,
    )
