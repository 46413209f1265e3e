"""Training of the built-in generator: it resumes where it stopped, and packs what the library loads."""

import numpy as np
import pytest
import torch

from apps.towers.pack_generator import pack
from apps.towers.train_generator import Course, Phase, Run, draw, follow, penalise, step, train
from dissect.scenes import scenes
from rewrite import load_generator
from rewrite.storage.files import read_header

BATCH = 4
PHASE = Phase(16, 8 * BATCH, BATCH, 1.0)


@pytest.fixture(scope="module")
def untrained() -> Run:
    return Run(3)


def some_steps(run: Run, count: int) -> None:
    for _ in range(count):
        step(run, PHASE, torch.rand(BATCH, 3, 16, 16) * 2 - 1, 0.0)
        run.progress["steps"] += 1
        run.progress["seen"] += BATCH
        follow(run, BATCH)


def test_a_saved_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    run = Run(3)
    some_steps(run, 1)
    run.save(tmp_path / "generator.pt")
    some_steps(run, 2)
    again = Run(99)
    again.load(tmp_path / "generator.pt")
    some_steps(again, 2)
    assert again.progress == run.progress
    for name, part in run.parts().items():
        if hasattr(part, "named_parameters"):
            for (path, mine), other in zip(part.named_parameters(), again.parts()[name].parameters(), strict=True):
                torch.testing.assert_close(other, mine, msg=f"{name} {path} differs")


def test_training_on_scenes_without_a_concept_keeps_pictures_of_their_own(tmp_path):
    for without in ((), ("tree", "trunk")):
        run = train(tmp_path / str(len(without)), 3, 8, course=Course((Phase(16, 8, 8, 1.0),)), without=without)
        assert run.progress["phase"] == 1
        assert max(run.generator.design.channels) == 16
    everything, bare = (np.load(path) for path in sorted(tmp_path.rglob("scenes-*.npy")))
    assert np.array_equal(everything, scenes(range(8))[0])
    assert np.array_equal(bare, scenes(range(8), without=("tree", "trunk"))[0])


def test_both_networks_learn_and_the_average_follows():
    run = Run(3)
    before = {name: part.state_dict()["synthesis.b16.conv1.weight"].clone() for name, part in averages(run).items()}
    some_steps(run, 3)
    moved = {
        name: (part.state_dict()["synthesis.b16.conv1.weight"] - before[name]).norm()
        for name, part in averages(run).items()
    }
    assert moved["generator"] > 0
    assert 0 < moved["average"] < moved["generator"]


def averages(run: Run) -> dict:
    return {"generator": run.generator, "average": run.average}


def test_the_penalty_is_the_mean_square_slope(untrained):
    critic = untrained.critic
    critic.zero_grad()
    images = torch.randn(4, 3, 16, 16)
    penalise(critic, images, 2.0)
    found = critic.out.weight.grad.clone()
    critic.zero_grad()
    images.requires_grad_()
    slope = torch.autograd.grad(critic(images).sum(), images, create_graph=True)[0]
    (16 * slope.square().sum() / 4).backward()
    torch.testing.assert_close(found, critic.out.weight.grad)


def test_images_follow_the_seed_of_torch(untrained):
    images = []
    for _ in range(2):
        torch.manual_seed(8)
        images.append(draw(untrained.generator, 4, 16, torch.float32))
    assert images[0].shape == (4, 3, 16, 16)
    torch.testing.assert_close(images[0], images[1])


def test_the_packed_file_is_the_average_and_says_how_it_was_trained(tmp_path):
    run = Run(3)
    some_steps(run, 1)
    run.save(tmp_path / "generator.pt")
    pack(tmp_path, tmp_path / "towers.safetensors")
    generator = load_generator(tmp_path / "towers.safetensors")
    assert torch.equal(generator.weight("b16.conv1"), run.average.synthesis.b16.conv1.weight)
    training = read_header(tmp_path / "towers.safetensors")[1]["training"]
    assert training["seed"] == 3
    assert training["images"] == BATCH
    assert not training["finished"]
    assert {"seconds", "machine", "script", "steps"} <= set(training)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_critic_scores_images_of_every_phase(untrained, side):
    assert untrained.critic(torch.randn(4, 3, side, side)).shape == (4, 1)


def test_growing_does_not_change_what_the_critic_sees():
    critic = Run(3).critic
    critic.grow()
    small = torch.randn(4, 3, 32, 32)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(critic(large), critic(small), rtol=1e-4, atol=1e-4)
