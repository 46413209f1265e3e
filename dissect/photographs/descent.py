"""Adam on a few tensors, which keeps the best of all iterates, and can stop and go on."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

# The rate is held for this share of the steps, and falls to zero over the others.
HELD = 0.5
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Descent:
    """A descent.

    Attributes:
        parameters: What moves.
        best: The values of it that came nearest.
        step: How many steps were taken.

    Args:
        parameters: What moves; leaves that have gradients.
        rates: The rate of each.
        count: How many steps there are.
        apart: The distance that is to fall.
        penalty: What is added to it, and does not count for which is the best.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        rates: Sequence[float],
        count: int,
        apart: Callable[[], Tensor],
        penalty: Callable[[], Tensor | float] = lambda: 0.0,
    ):
        self.parameters, self.rates, self.count, self.step = list(parameters), rates, count, 0
        self.best, self._least = [each.detach().clone() for each in parameters], float("inf")
        self._apart, self._penalty = apart, penalty
        self._adam = torch.optim.Adam([{"params": [each], "lr": 0.0} for each in parameters])

    @torch.enable_grad()
    def go(self) -> None:
        """Take one step."""
        apart = self._apart()
        self._see(float(apart.detach()))
        self._adam.zero_grad()
        (apart + self._penalty()).backward()
        left = min(1.0, (1 - self.step / self.count) / (1 - HELD))
        for group, rate in zip(self._adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * left
        self._adam.step()
        self.step += 1

    def steps(self) -> Iterator[None]:
        """Take the steps that are left; yields after each, and looks at the end once more."""
        while self.step < self.count:
            self.go()
            yield
        with torch.no_grad():
            self._see(float(self._apart()))

    def tensors(self) -> dict[str, Tensor]:
        """All that it takes to go on."""
        state = self._adam.state_dict()["state"]
        found = {"least": torch.tensor(self._least, dtype=torch.float64), "taken": torch.tensor(self.step)}
        for number, each in enumerate(self.parameters):
            found |= {f"now{number}": each.detach(), f"best{number}": self.best[number]}
            found |= {f"{name}{number}": state[number][name] for name in MOMENTS if number in state}
        return found

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave.

        Raises:
            KeyError, RuntimeError, ValueError: They are of another descent.
        """
        step = int(tensors["taken"])
        if not 0 <= step <= self.count:
            raise ValueError(f"a descent of {self.count} steps has not taken {step}")
        with torch.no_grad():
            for number, each in enumerate(self.parameters):
                each.copy_(tensors[f"now{number}"])
                self.best[number].copy_(tensors[f"best{number}"])
        state = {
            number: {name: tensors[f"{name}{number}"].clone() for name in MOMENTS}
            for number in range(len(self.parameters) if step else 0)
        }
        self._adam.load_state_dict({**self._adam.state_dict(), "state": state})
        self.step, self._least = step, float(tensors["least"])

    @torch.no_grad()
    def _see(self, apart: float) -> None:
        if apart < self._least:
            self._least = apart
            for best, each in zip(self.best, self.parameters, strict=True):
                best.copy_(each)
