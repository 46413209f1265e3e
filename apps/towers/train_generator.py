"""Train a built-in generator: a small StyleGAN2 on towers scenes, grown from 16x16 to 64x64.

    python -m apps.towers.train_generator --state .training
    python -m apps.towers.train_generator --state .training/early --model towers-early --scenes 20000

`towers-early` is a narrower one that is stopped early, while it still draws smeared and doubled towers: something
for the search for artifacts to find. Training can be stopped at any moment and started again with the same command:
it goes on from the last state that it saved.
"""

import argparse
import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from apps.towers.discriminator import Discriminator
from dissect.scenes import scenes
from rewrite.generators.noise import Noise
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design

GENERATOR = {"z_dim": 128, "w_dim": 128, "mapping_layers": 3, "channels": {4: 128, 8: 128, 16: 96, 32: 64, 64: 32}}
CRITIC = {4: 128, 8: 96, 16: 64, 32: 40}
PENALTY_EVERY = 16


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one resolution."""

    side: int
    images: int
    batch: int
    penalty: float
    rate: float = 2e-3
    last_rate: float = 2e-3
    precise: bool = False


@dataclass(frozen=True)
class Course:
    """How a generator of the package is trained.

    Attributes:
        phases: What is run, one after another.
        channels: Its widths by side.
    """

    phases: tuple[Phase, ...]
    channels: Mapping[int, int] = field(default_factory=lambda: GENERATOR["channels"])


PHASES = (
    Phase(16, 20_000, 32, 1.0),
    Phase(32, 72_000, 32, 1.0),
    Phase(64, 168_000, 16, 1.0),
    Phase(64, 28_000, 16, 1.0, last_rate=2e-4),
)
EARLY = (Phase(16, 12_000, 32, 1.0), Phase(32, 36_000, 32, 1.0), Phase(64, 40_000, 16, 1.0))
COURSES = {
    "towers": Course(PHASES),
    "towers-early": Course(EARLY, {4: 96, 8: 96, 16: 64, 32: 48, 64: 24}),
}


def design_of(side: int, channels: Mapping[int, int] = GENERATOR["channels"]) -> dict[str, Any]:
    """What the generator is built like whose images have this side."""
    return {**GENERATOR, "channels": {each: count for each, count in channels.items() if each <= side}}


class Run:
    """Everything that training changes, so that it can be saved and taken up again."""

    def __init__(self, seed: int, side: int = 64, channels: Mapping[int, int] = GENERATOR["channels"]):
        torch.manual_seed(seed)
        self.generator, self.critic = StyleGAN2(Design(**design_of(side, channels))), Discriminator(CRITIC)
        for block in (each for each in (32, 64) if each <= side):
            torch.nn.init.zeros_(self.generator.synthesis.get_submodule(f"b{block}.torgb").weight)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator_optimiser = torch.optim.Adam(self.generator.parameters(), 2e-3, (0.0, 0.99), 1e-8)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), 2e-3, (0.0, 0.99), 1e-8)
        self.progress = {"phase": 0, "images": 0, "seen": 0, "steps": 0, "seconds": 0.0, "seed": seed}

    def parts(self) -> dict:
        return {
            "generator": self.generator,
            "critic": self.critic,
            "average": self.average,
            "generator_optimiser": self.generator_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }

    def save(self, path: Path) -> None:
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state["progress"], state["random"] = self.progress, torch.get_rng_state()
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.progress = state["progress"]
        torch.set_rng_state(state["random"])


def draw(generator: StyleGAN2, count: int, side: int, dtype: torch.dtype, mixing: float = 0.1) -> Tensor:
    """Images from fresh latents; with probability `mixing` the later layers follow a second latent."""
    w = generator.mapping(torch.randn(2 * count, generator.z_dim))
    first, second = w[:count], w[count:]
    with torch.no_grad():
        generator.mapping.w_avg.lerp_(w.mean(dim=0), 0.002)
    layers = torch.arange(generator.num_ws)
    cut = torch.where(torch.rand(count) < mixing, torch.randint(1, generator.num_ws, (count,)), generator.num_ws)
    ws = torch.where((layers < cut[:, None])[..., None], first[:, None], second[:, None])
    synthesis = generator.synthesis
    stages = [stage for stage in synthesis.stages if int(stage[1:].partition(".")[0]) <= side]
    # Nothing in this world is random texture: without noise inputs the network learns faster and draws no speckle.
    return synthesis.run(synthesis.start(ws, Noise("none"), dtype), stages).image


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate of an optimiser."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def step(run: Run, phase: Phase, real: Tensor, done: float) -> dict[str, float]:
    """One step of the critic and one of the generator: relativistic pairs with lazy R1 and R2.

    Source: Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024. A drawn image is scored
    against a generated one, which leaves no reason to drop a mode.
    """
    rate = phase.rate + done * (phase.last_rate - phase.rate)
    set_rate(run.generator_optimiser, rate)
    set_rate(run.critic_optimiser, rate)
    dtype = torch.float32 if phase.precise else torch.bfloat16
    fake = draw(run.generator, phase.batch, phase.side, dtype)

    run.critic.requires_grad_(True)
    run.critic_optimiser.zero_grad(set_to_none=True)
    # One batch each: the deviation within a group says nothing where drawn and generated images stand together.
    real_score = run.critic(real, dtype)
    critic_loss = F.softplus(run.critic(fake.detach(), dtype) - real_score).mean()
    critic_loss.backward()
    turn = run.progress["steps"] % PENALTY_EVERY
    if turn in (0, PENALTY_EVERY // 2):
        # Half a batch is enough for a slope, and its second derivatives are the dearest part of a step.
        penalise(run.critic, (real if turn == 0 else fake)[: phase.batch // 2], phase.penalty)
    run.critic_optimiser.step()

    run.critic.requires_grad_(False)
    run.generator_optimiser.zero_grad(set_to_none=True)
    loss = F.softplus(real_score.detach() - run.critic(fake, dtype)).mean()
    loss.backward()
    run.generator_optimiser.step()
    return {"generator": loss.item(), "critic": critic_loss.item()}


def penalise(critic: Discriminator, images: Tensor, weight: float) -> None:
    """Add the slope of the critic at images to its gradients: R1 on drawn images, R2 on generated ones."""
    images = images.detach().requires_grad_()
    slope = torch.autograd.grad(critic(images).sum(), images, create_graph=True)[0]
    (slope.square().sum(dim=(1, 2, 3)).mean() * (weight / 2 * PENALTY_EVERY)).backward()


@torch.no_grad()
def follow(run: Run, batch: int) -> None:
    """Move the averaged generator: a half-life of 10,000 images, shorter at the beginning."""
    half_life = min(10_000, 0.05 * run.progress["seen"] + 1)
    weight = 1 - 0.5 ** (batch / half_life)
    for mine, other in zip(run.average.parameters(), run.generator.parameters(), strict=True):
        mine.lerp_(other, weight)
    for mine, other in zip(run.average.buffers(), run.generator.buffers(), strict=True):
        mine.copy_(other)


def data(folder: Path, count: int, without: Sequence[str] = ()) -> np.ndarray:
    """The training pictures, drawn once and kept in the state folder."""
    path = folder / f"{'-'.join(['scenes', str(count), *(f'no-{concept}' for concept in without)])}.npy"
    if not path.exists():
        starts = tqdm(range(0, count, 500), desc="draw scenes", unit="x500")
        parts = [scenes(range(i, min(i + 500, count)), without=without)[0] for i in starts]
        np.save(path.with_suffix(".part.npy"), np.concatenate(parts))
        path.with_suffix(".part.npy").replace(path)
    return np.load(path, mmap_mode="r")


def real_batch(pictures: np.ndarray, phase: Phase) -> Tensor:
    """A batch of training pictures in [-1, 1] at the side of a phase."""
    chosen = torch.randint(len(pictures), (phase.batch,)).tolist()
    batch = torch.from_numpy(np.stack([pictures[i] for i in chosen])).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.avg_pool2d(batch, batch.shape[-1] // phase.side).contiguous(memory_format=torch.channels_last)


def train(
    folder: Path, seed: int, count: int, *, course: Course = COURSES["towers"], without: Sequence[str] = ()
) -> Run:
    """Run all phases, saving the state every few minutes.

    Args:
        folder: Where the state is kept.
        seed: Of the weights and of everything drawn.
        count: How many training pictures.
        course: What to train, and through which phases.
        without: Concepts that the training pictures do not show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    phases = course.phases
    run, path = Run(seed, max(phase.side for phase in phases), course.channels), folder / "generator.pt"
    if path.exists():
        run.load(path)
    for network in (run.generator, run.critic):
        network.to(memory_format=torch.channels_last)
    pictures, log = data(folder, count, without), (folder / "generator.log.jsonl").open("a")
    saved = time.monotonic()
    while run.progress["phase"] < len(phases):
        phase = phases[run.progress["phase"]]
        bar = tqdm(
            total=phase.images,
            initial=run.progress["images"],
            unit="img",
            desc=f"{phase.side}x{phase.side}",
            mininterval=5,
        )
        while run.progress["images"] < phase.images:
            began = time.monotonic()
            losses = step(run, phase, real_batch(pictures, phase), run.progress["images"] / phase.images)
            for counter, amount in (("images", phase.batch), ("seen", phase.batch), ("steps", 1)):
                run.progress[counter] += amount
            follow(run, phase.batch)
            run.progress["seconds"] += time.monotonic() - began
            bar.update(phase.batch)
            if run.progress["steps"] % 50 == 0:
                log.write(json.dumps({**asdict(phase), **run.progress, **losses}) + "\n")
                log.flush()
            if time.monotonic() - saved > 120:
                run.save(path)
                saved = time.monotonic()
        run.progress["phase"], run.progress["images"] = run.progress["phase"] + 1, 0
        run.save(path)
        next_phase = phases[run.progress["phase"]] if run.progress["phase"] < len(phases) else phase
        if next_phase.side == 64 > phase.side:
            run.critic.grow()
    log.close()
    return run


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(".training"), help="folder of the training state")
    parser.add_argument("--model", choices=COURSES, default="towers", help="which of the package to train")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=40_000, help="how many training pictures")
    parser.add_argument("--without", default="", help="concepts that no training picture shows, such as tree,trunk")
    options = parser.parse_args()
    without = [concept for concept in options.without.split(",") if concept]
    train(options.state, options.seed, options.scenes, course=COURSES[options.model], without=without)


if __name__ == "__main__":
    main()
