"""Decoders of autoencoders as generators: noise stands for their latents, maps of a size that is chosen."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rewrite.generators.wrapped import WrappedGenerator

# Of a latent where none is chosen; 64 x 64 is that of Stable Diffusion's own images.
USUAL = (32, 32)


class DecoderGenerator(WrappedGenerator):
    """A decoder of latents of so many channels, height and width."""

    def __init__(self, decoder: nn.Module, channels: int, size: tuple[int, int], scaled: str = ""):
        self.shape, (height, width) = (channels, *size), size
        super().__init__(decoder, self.shape, None, None)
        self.assumed = (
            f"latents are noise of {height} x {width} as the decoder reads it{scaled}, not those of any picture; "
            "FILE::64x64 draws those of another height and width",
        )

    @property
    def z_shape(self) -> tuple[int, ...]:
        return self.shape

    def state(self) -> Mapping[str, Tensor]:
        """Its weights; and the size of latents that is not the usual one: a memory of one size is of no other."""
        size = {} if self.shape[1:] == USUAL else {"size of latents": torch.tensor(self.shape)}
        return {**super().state(), **size}
