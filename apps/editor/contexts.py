"""Contexts found by concept: the regions that show it, on the wall and in further images."""

from collections.abc import Sequence

from apps.editor.draft import Draft
from apps.editor.work import Work
from dissect.regions import things
from rewrite import Region

FIRST_FURTHER = 10_000
LEAST = 6 / 64**2


def find_regions(
    work: Work, draft: Draft, concept: str, further: int = 0
) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    """Every region of a concept on the wall, and in further images that are not shown.

    Args:
        work: The work that Stop ends.
        draft: The draft whose seeds are on the wall.
        concept: A concept of the model's source.
        further: Number of further images with the concept to look for.

    Raises:
        LookupError: The source does not know the concept.
        Stopped: The user pressed Stop.
        ValueError: The model has no source of concepts.
    """
    source = work.model.source
    if source is None:
        raise ValueError("nothing names the pixels of this model's images: brush the contexts by hand")
    source.concepts.number(concept)
    least = round(LEAST * draft.side**2) or 1

    def look(seeds: Sequence[int]) -> tuple[Region, ...]:
        images = [work.model.given.latent(seed) for seed in seeds]
        found = things(work.model.generator, source, [concept], images, least=least, inside=False)
        return tuple(thing.region for thing in found)

    with work.running():
        shown = look(draft.seeds)
        beyond = look(range(FIRST_FURTHER, FIRST_FURTHER + 2 * further)) if further else ()
    seeds = list(dict.fromkeys(region.latent.seed for region in beyond))[:further]
    return shown, tuple(region for region in beyond if region.latent.seed in seeds)
