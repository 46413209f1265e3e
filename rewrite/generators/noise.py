"""The noise inputs of a StyleGAN2."""

import torch
from torch import Tensor

from rewrite.generators.stylegan2_stages import SynthesisLayer
from rewrite.storage.quoting import quoted

NOISE_MODES = ("const", "seed", "random", "none")


class Noise:
    """Where the noise inputs of a run come from.

    `draw` gives the noise of one layer, shape (images, 1, height, width), or None for no noise at all.
    """

    def __init__(self, mode: str = "const", seeds: tuple[int, ...] = ()):
        if mode not in NOISE_MODES:
            raise ValueError(f"noise must be one of {', '.join(NOISE_MODES)}, got {quoted(mode)}")
        self.mode, self.seeds = mode, seeds

    def draw(self, layer: SynthesisLayer, number: int, like: Tensor) -> Tensor | None:
        # Drawing noise from seeds takes time; a trained layer that gives it no strength needs none.
        if self.mode == "none" or not (layer.training or layer.noise_strength):
            return None
        if self.mode == "const":
            return layer.noise_const[None, None]
        if self.mode == "random":
            return torch.randn(like.shape[0], 1, *layer.size, device=like.device)
        drawn = [_seeded_noise(seed, number, layer.size) for seed in self.seeds]
        return torch.stack(drawn)[:, None].to(like.device)


class NoiseWindow(Noise):
    """The noise of a window of every map.

    Args:
        whole: The noise of whole maps.
        height: Height of the maps that `rows` and `columns` are counted in; those of later layers are larger.
        rows, columns: The window.
    """

    def __init__(self, whole: Noise, height: int, rows: slice, columns: slice):
        super().__init__(whole.mode, whole.seeds)
        self.height, self.rows, self.columns = height, rows, columns

    def draw(self, layer: SynthesisLayer, number: int, like: Tensor) -> Tensor | None:
        drawn, times = super().draw(layer, number, like), layer.size[0] // self.height
        if drawn is None:
            return None
        rows, columns = (slice(each.start * times, each.stop * times) for each in (self.rows, self.columns))
        return drawn[..., rows, columns]


def _seeded_noise(seed: int, number: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 64 + number) % 2**63)
    return torch.randn(*size, generator=generator)
