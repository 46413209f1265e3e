"""A layer's units turned away from their axes: is it the units that mean something, or any direction of the layer?

Source: Bau et al., "Network Dissection" (CVPR 2017), section 3.2: detectors are counted for the basis Q^α with Q drawn
uniformly from the rotations (Haar) and α from 0 (the units themselves) to 1.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dissect.units.probe import Activations, Observed, Probe
from rewrite.generators.network import Network

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def random_rotation(size: int, seed: int) -> Float[np.ndarray, "size size"]:
    """A rotation drawn uniformly: the QR factor of a Gaussian matrix with a positive diagonal, mirrored if need be."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[0] = -q[0]
    return q


class Rotation:
    """A rotation with its fractional powers: the shortest way there from the identity.

    Real Schur form: Q = W T Wᵀ with T of 2 x 2 rotations, and Q^α has α times their angles.
    """

    def __init__(self, matrix: Float[np.ndarray, "size size"]):
        blocks, self.basis = scipy.linalg.schur(matrix, output="real")[:2]
        self.angles: list[tuple[int, float]] = []  # the first axis of each plane, and its angle
        alone = []  # axes that are turned by 0 or by a half turn
        row = 0
        while row < len(blocks):
            if row + 1 < len(blocks) and abs(blocks[row + 1, row]) > 1e-9:
                self.angles.append((row, float(np.arctan2(blocks[row + 1, row], blocks[row, row]))))
                row += 2
            else:
                alone.append((row, blocks[row, row] < 0))
                row += 1
        # Half turns come in pairs in a rotation, and a pair is a plane turned by π.
        turned = [row for row, negative in alone if negative]
        self.pairs = list(zip(turned[::2], turned[1::2], strict=True))

    def power(self, alpha: float) -> Float[np.ndarray, "size size"]:
        """Q^α."""
        turned = np.eye(len(self.basis))
        planes = [((row, row + 1), angle) for row, angle in self.angles] + [(pair, np.pi) for pair in self.pairs]
        for (first, second), angle in planes:
            cosine, sine = np.cos(alpha * angle), np.sin(alpha * angle)
            turned[np.ix_((first, second), (first, second))] = [[cosine, -sine], [sine, cosine]]
        return self.basis @ turned @ self.basis.T


class RotatedProbe(Probe):
    """Views of another probe, each once for every α, with its units mixed by Q^α.

    Views of as many units are mixed alike.
    """

    def __init__(self, probe: Probe, views: Sequence[str], alphas: Sequence[float] = ALPHAS, seed: int = 0):
        self.probe = probe
        turns = {size: Rotation(random_rotation(size, seed)) for size in {probe.units[view] for view in views}}
        self.rotations = {
            turned(view, alpha): (view, torch.from_numpy(turns[probe.units[view]].power(alpha)).float())
            for view in views
            for alpha in alphas
        }
        self.units = {name: len(rotation) for name, (_, rotation) in self.rotations.items()}
        self.concepts = probe.concepts
        self.identity = {**probe.identity, "rotated": list(views), "alphas": list(alphas), "seed": seed}

    @property
    def network(self) -> Network | nn.Module | None:
        return self.probe.network

    def activations(self, numbers: Sequence[int]) -> Activations:
        return self._rotated(self.probe.activations(numbers))

    def observe(self, numbers: Sequence[int]) -> Observed:
        observed = self.probe.observe(numbers)
        return observed._replace(activations=self._rotated(observed.activations))

    def draw(self, numbers: Sequence[int]) -> tuple[Activations, Tensor]:
        activations, images = self.probe.draw(numbers)
        return self._rotated(activations), images

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        return self.probe.split(samples, level_samples)

    def _rotated(self, activations: Activations) -> Activations:
        return {
            # The units themselves stay what they are to the bit.
            name: maps if name == turned(view, 0.0) else torch.einsum("uv,nvhw->nuhw", rotation.to(maps.device), maps)
            for name, (view, rotation) in self.rotations.items()
            for maps in [activations[view]]
        }


def turned(view: str, alpha: float) -> str:
    """The name of a view whose units are turned by this share."""
    return f"{view} {alpha:g}"
