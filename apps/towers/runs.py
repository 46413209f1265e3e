"""A training run of one network: steps of AdamW that can be stopped at any moment and taken up again."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rewrite.storage.files import write_whole

SAVE_EVERY_S = 60
LOG_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training run is, apart from its state."""

    seed: int = 1
    steps: int
    batch: int
    rate: float
    decay: float
    warm_up: int = 50

    def rate_at(self, step: int) -> float:
        """A linear rise, then a cosine down to zero."""
        return self.rate * min(1, (step + 1) / self.warm_up) * (1 + math.cos(math.pi * step / self.steps)) / 2


class Run:
    """Everything that training changes, so that it can be saved and taken up again.

    Args:
        plan: What the run is.
        build: Makes the network; called with torch's random state that of the plan's seed.
    """

    def __init__(self, plan: Plan, build: Callable[[], nn.Module]):
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.network = build().to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), plan.rate, weight_decay=plan.decay)
        self.progress = {"steps": 0, "seconds": 0.0}

    def save(self, path: Path) -> None:
        """Write the state."""
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"progress": self.progress, "plan": asdict(self.plan), "random": torch.get_rng_state()}
        write_whole(path, lambda temporary: torch.save(state, temporary))

    def load(self, path: Path) -> None:
        """Go on from a state, which must belong to the same plan."""
        state = torch.load(path, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise ValueError(f"a run keeps the plan of its state in {path}, {state['plan']}, got {asdict(self.plan)}")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = state["progress"]
        torch.set_rng_state(state["random"])

    def train(self, path: Path, loss_at: Callable[[int], Tensor]) -> None:
        """Take the steps that are left, from the state in a file if there is one, saving it every minute.

        Args:
            path: The file of the state; its log lies beside it.
            loss_at: Gives the loss of a step, by its number.

        Raises:
            ValueError: The state is of another plan, or the loss is not finite.
        """
        if path.exists():
            self.load(path)
        saved = time.monotonic()
        bar = tqdm(total=self.plan.steps, initial=self.progress["steps"], unit="step", desc="train", mininterval=5)
        with path.with_suffix(".log.jsonl").open("a") as log:
            while self.progress["steps"] < self.plan.steps:
                loss = self._step(loss_at)
                bar.update()
                if self.progress["steps"] % LOG_EVERY == 0:
                    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                    log.write(json.dumps({**self.progress, "loss": loss}) + "\n")
                    log.flush()
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self.save(path)
                    saved = time.monotonic()
        self.save(path)

    def _step(self, loss_at: Callable[[int], Tensor]) -> float:
        began, number = time.monotonic(), self.progress["steps"]
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(number)
        loss = loss_at(number)
        if not torch.isfinite(loss):
            raise ValueError(f"the loss is not finite after {number} steps")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.progress["steps"] += 1
        self.progress["seconds"] += time.monotonic() - began
        return loss.item()
