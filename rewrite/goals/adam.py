"""Adam (Kingma and Ba 2015), written out: torch.optim imports torch's compiler, which takes longer than our steps."""

import torch
from jaxtyping import Float
from torch import Tensor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """What the steps so far say of the next one."""

    def __init__(self, like: Float[Tensor, "*shape"]) -> None:
        self.mean, self.power, self.steps = torch.zeros_like(like), torch.zeros_like(like), 0

    @torch.no_grad()
    def step(self, slope: Float[Tensor, "*shape"], rate: float) -> Float[Tensor, "*shape"]:
        """What is to be taken off, given the gradient: at most about `rate` in each entry."""
        self.steps += 1
        self.mean.lerp_(slope, 1 - FIRST)
        self.power.lerp_(slope.square(), 1 - SECOND)
        size = (self.power / (1 - SECOND**self.steps)).sqrt() + EPSILON
        return rate * self.mean / (1 - FIRST**self.steps) / size
