"""How the seeds of a wall are drawn: another truncation or class than the model was opened with.

A tile that is drawn so is a latent by value: the w (or z) that its seed has then. What is marked on it goes into a rule
as that latent, so that the rule finds the same image whatever it is opened with.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rewrite import Generator, Latent
from rewrite.generators.latents import Latents

MOST_TRUNCATION = 2.0


@dataclass(frozen=True)
class Look:
    """How seeds are drawn.

    Attributes:
        truncation: How far latents are drawn from their mean; None leaves it to the model.
        label: The class; None leaves it to the model.

    Raises:
        ValueError: One of them is out of range.
    """

    truncation: float | None = None
    label: int | None = None

    def __post_init__(self):
        number = self.truncation
        if number is not None and not (isinstance(number, int | float) and 0 <= number <= MOST_TRUNCATION):
            raise ValueError(f"truncation lies between 0 and {MOST_TRUNCATION:g}")
        if self.label is not None and (isinstance(self.label, bool) or not isinstance(self.label, int)):
            raise ValueError("a class is a whole number")

    @property
    def plain(self) -> bool:
        """Whether seeds are drawn as the model draws them by itself."""
        return self == Look()

    @property
    def sign(self) -> str:
        """What the names of tiles say of it, such as `ψ 0.7, class 3`."""
        parts = [f"ψ {self.truncation:g}" if self.truncation is not None else ""]
        parts.append(f"class {self.label}" if self.label is not None else "")
        return ", ".join(filter(None, parts))

    def latents(self, generator: Generator, seeds: Sequence[int]) -> list[Latent]:
        """The latents that some seeds stand for.

        Raises:
            ValueError: The generator has no such class.
        """
        if self.plain or not seeds:
            return [Latent(seed) for seed in seeds]
        return Latent.each(self.drawn(generator, seeds))

    @torch.no_grad()
    def drawn(self, generator: Generator, seeds: Sequence[int]) -> Latents:
        """The same as tensors by value: w where the generator has such, one for all layers where these are equal."""
        latents, usual = generator.latents(seeds), generator.truncation
        # A copy that shares the network, which is only read: no lock is needed, and nobody else sees the look.
        looked = copy.copy(generator)
        looked.truncation = usual if self.truncation is None else self.truncation
        if self.label is not None:
            looked.draw_class(self.label)
        if not generator.styles_shape[1]:
            return latents._replace(z=latents.z * (looked.truncation / usual if usual else 1.0))
        w = looked.styles(latents).float().cpu()
        return latents._replace(w=w[:, :1] if bool((w == w[:, :1]).all()) else w)


def truncates(generator: Generator) -> bool:
    """Whether truncation changes what a generator draws."""
    return bool(generator.styles_shape[1] or generator.classes)


def classes_of(generator: Generator) -> int:
    """How many classes there are to choose from; 0 where the class is no part of w, so that no latent can hold it."""
    return generator.classes if generator.styles_shape[1] else 0
