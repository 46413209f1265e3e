"""Steps of descent that are short in the directions that a layer usually reads.

A change Δ costs E‖Δ k‖² = tr(Δ C Δᵀ) at ordinary keys. Descent on Θ, with Δ = Θ P and P = (C / c + ρ)^(-1/2), goes far
only where little else is read: what marks ask for arrives, and less changes beside it. It is what the closed form does
with its metric, for steps that are taken in the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.layers import Part
from rewrite.solvers.spectrum import Spectrum

# Beside the mean energy of an entry of a key: what every direction costs.
RIDGE = 1.0


@dataclass(frozen=True)
class Preconditioner:
    """P, one for each part of a layer's matrix.

    Attributes:
        parts: The parts.
        spectra: The largest directions of the second moment in each.
        scales: By how much a step along each of these directions differs from one in all others, and what that is.
    """

    parts: Sequence[Part]
    spectra: list[Spectrum]
    scales: list[tuple[Float[Tensor, " directions"], float]]

    @classmethod
    def of(
        cls, parts: Sequence[Part], moment_of: Callable[[Part], Float[Tensor, "columns columns"]]
    ) -> "Preconditioner":
        """P of some parts, by the second moment of each."""
        found = cls(parts, [], [])
        for part in parts:
            moment = moment_of(part)
            spectrum = Spectrum.of(moment, torch.ones(len(moment), dtype=moment.dtype))
            unit = float(moment.diagonal().mean()) or 1.0
            rest = _step(torch.tensor(spectrum.tail / unit))
            found.spectra.append(spectrum)
            found.scales.append((_step((spectrum.tail + spectrum.excess) / unit) - rest, float(rest)))
        return found

    def __call__(self, steps: Float[Tensor, "outputs group_width"]) -> Float[Tensor, "outputs group_width"]:
        """Θ P, which can be differentiated."""
        found = torch.zeros_like(steps)
        for part, spectrum, (scale, rest) in zip(self.parts, self.spectra, self.scales, strict=True):
            own, across = steps[part.rows, part.own], spectrum.keys.to(steps)
            found[part.rows, part.own] = rest * own + (own @ across.T * scale.to(steps)) @ across
        return found


def _step(energy: Tensor) -> Tensor:
    """The length of a step in a direction of some energy; that of the mean energy has length 1."""
    return ((energy + RIDGE) / (1 + RIDGE)).rsqrt()
