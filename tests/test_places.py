"""What an edit does to the marked images is measured in the images, also where the layer tells another story."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import Generator, Latent, Mask, Patch, Region, Rule, Settings, measure, report_on, solve, wrap
from rewrite.generators.probing import normalised_after
from rewrite.reports.places import Places, arrival, measure_places
from tests.test_solvers import rule_on

SIDE, SEEDS, MARKED = 24, 60, 6


class Sprites(nn.Module):
    """A disc of one of two kinds before waves, drawn by a convolution whose output is normalised in each image.

    How bright an image is, which is one number of the latent, is normalised away.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(4, 16, 3, padding=1), nn.InstanceNorm2d(16)
        self.colours = nn.Conv2d(16, 3, 3, padding=1)
        nn.init.normal_(self.colours.weight, std=0.15)
        axis = torch.linspace(-1, 1, SIDE)
        self.register_buffer("grid", torch.stack(torch.meshgrid(axis, axis, indexing="ij")))

    def disc(self, z: torch.Tensor) -> torch.Tensor:
        across, down = self.grid[1] - 0.35 * torch.tanh(z[:, 1, None, None]), self.grid[0]
        distance = torch.stack([down - 0.35 * torch.tanh(z[:, 0, None, None]), across]).norm(dim=0)
        return torch.sigmoid(20 * (0.45 * (1 + 0.2 * torch.tanh(z[:, 4, None, None])) - distance))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        disc, kind = self.disc(z), (z[:, 2, None, None] > 0).float()
        waves = torch.sin(3 * self.grid[0] + z[:, 3, None, None]) * (1 - disc)
        features = torch.stack([disc * kind, disc * (1 - kind), waves, torch.ones_like(disc)], dim=1)
        bright = torch.exp(torch.tanh(z[:, 5, None, None, None]))
        return torch.tanh(self.colours(F.leaky_relu(self.norm(self.conv(bright * features)), 0.2)))


class Colouring:
    """A rule that gives discs of one kind, in bright images, the colour of those of the other kind in a dark one."""

    def __init__(self):
        self.module = Sprites().requires_grad_(False).eval()
        self.generator = wrap(self.module, 8)
        self.z = self.generator.latents(range(SEEDS)).z
        by_brightness = self.z[:, 5].argsort().tolist()
        self.first = [seed for seed in by_brightness if self.z[seed, 2] > 0]
        self.second = [seed for seed in reversed(by_brightness) if self.z[seed, 2] <= 0]
        self.memory = measure(self.generator, "conv", 200)

    def disc(self, seed: int) -> torch.Tensor:
        return self.module.disc(self.z[seed : seed + 1])[0] > 0.5

    def solved(self, refine: int) -> tuple[Rule, Patch]:
        copy, *places = (
            Region(Latent(seed), Mask.from_array(self.disc(seed).numpy()))
            for seed in (self.first[0], *self.second[:MARKED])
        )
        settings = Settings(damage=3e-4, drift=1e-3, others=0.1, refine=refine)
        fingerprint = self.generator.fingerprint
        rule = Rule("colour", fingerprint, "conv", copy=(copy,), context=tuple(places), settings=settings)
        return rule, solve(self.generator, self.memory, rule)

    def colour(self, seeds: list[int]) -> torch.Tensor:
        """The mean colour of the discs, by nothing but the images and where the discs are."""
        return torch.stack(
            [image[:, self.disc(seed)].mean(dim=1) for seed, image in zip(seeds, self.generator.sample(seeds))]
        ).mean(dim=0)

    def arrived(self, patch: Patch, seeds: list[int]) -> float:
        """The share of the way that the colour of discs went to that of the other kind."""
        old, way = self.colour(seeds), self.colour(self.first[:1]) - self.colour(seeds)
        with patch.applied(self.generator):
            return float((self.colour(seeds) - old) @ way / (way @ way))


@pytest.fixture(scope="module")
def colouring() -> Colouring:
    return Colouring()


def test_where_a_normalisation_follows_answers_are_ranked_as_the_images_rank_them(colouring):
    found = {refine: colouring.solved(refine) for refine in (0, 20)}
    seen = {refine: colouring.arrived(patch, colouring.second[:MARKED]) for refine, (_, patch) in found.items()}
    unseen = {refine: colouring.arrived(patch, colouring.second[MARKED:]) for refine, (_, patch) in found.items()}
    assert seen[0] < 0.4 < 0.8 < seen[20]
    assert unseen[0] < 0.4 < 0.6 < unseen[20]
    reports = {refine: report_on(colouring.generator, patch, seeds=range(4)) for refine, (_, patch) in found.items()}
    told = {refine: report.document() for refine, report in reports.items()}
    for document in told.values():
        assert document["measured_by"] == "places"
        assert document["efficacy_interval"][0] < document["efficacy"] < document["efficacy_interval"][1]
    assert told[0]["efficacy"] < 0.4 < 0.8 < told[20]["efficacy"]
    # What the layer says, which is a detail now, is the reverse.
    residual = {refine: document["places"][0]["residual"] for refine, document in told.items()}
    assert 1 - residual[0] > 0.85 > 0.7 > 1 - residual[20]


def test_an_answer_that_is_not_refined_says_that_a_normalisation_follows(colouring):
    assert normalised_after(colouring.generator, "conv")
    (note,) = colouring.solved(0)[1].forecast["notes"]
    assert note.startswith("a normalisation follows layer conv: values at the layer are not what the image shows")
    assert colouring.solved(1)[1].forecast["notes"] == []


def places_of(generator: Generator, rule: Rule, strength: float = 1.0) -> Places:
    patch = solve(generator, measure(generator, rule.layer, 64), rule)
    return measure_places(generator, lambda: patch.applied(generator, strength), rule)


def test_nothing_arrives_where_nothing_is_changed(plain_generator):
    found = places_of(plain_generator, rule_on(plain_generator, "conv"), strength=0.0)
    assert found.arrives.value == pytest.approx(0.0, abs=1e-6)
    assert found.residual == pytest.approx(1.0)
    assert max(each.strays for each in found.moved) == pytest.approx(0.0, abs=1e-6)


def test_what_arrives_is_the_share_of_the_way_over_all_images_together(plain_generator):
    found = places_of(plain_generator, rule_on(plain_generator, "conv"))
    along, wanted = (sum(getattr(each, name) for each in found.moved) for name in ("along", "wanted"))
    assert found.images == len(found.moved) > 1
    assert found.arrives.value == pytest.approx(along / wanted)
    assert found.arrives == arrival(found.moved)
    assert found.arrives.low <= found.arrives.value <= found.arrives.high


def test_what_arrives_is_not_known_where_nothing_was_to_change():
    assert np.isnan(arrival([]).value)
