"""What a user writes after `--latents`, where that is a photograph: its change of weights goes with its latent."""

from pathlib import Path

from dissect.photographs.photograph import Photograph, is_photograph
from rewrite import Generator, Patch


def changes_of(path: Path | None, generator: Generator) -> list[tuple[Patch, float]]:
    """The change of weights of a file of latents, with strengths; none where that is no photograph.

    Raises:
        ValueError: The photograph is damaged, or was found with another generator.
    """
    if path is None or not is_photograph(path):
        return []
    photograph = Photograph.load(path)
    photograph.check(generator)
    return photograph.held
