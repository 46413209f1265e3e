"""The role of units: what ablations give is what whole runs without the units give, however it is computed."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from dissect.roles.ablations import Rerun, Updated, ablations
from dissect.roles.accuracy import balanced, balanced_interval, rank_correlation
from dissect.roles.detectors import Detectors
from dissect.roles.following import next_layer
from dissect.roles.roles import find_roles
from dissect.roles.screen import screened
from dissect.sources.classes import ClassedPictures, ClassFolder, SceneClasses
from dissect.sources.towers import Scenes
from dissect.units.probe import PictureProbe
from rewrite import load_classifier, wrap
from rewrite.reports.interval import counted
from tests.test_classifiers import Residual, tokens

NAMES = ("a", "b", "c")


class GivenPictures(ClassedPictures):
    """Pictures that are in memory."""

    identity = "given"

    def __init__(self, pictures, classes, names):
        self.pictures, self.of_class, self.names, self.numbers = pictures, classes, names, range(len(pictures))

    def images(self, numbers):
        return self.pictures[list(numbers)]

    def classes(self, numbers):
        return self.of_class[list(numbers)]


def chain(norm: bool = False) -> nn.Module:
    """Convolutions in a row, with a linear layer that reads all positions of each unit."""
    stages = [
        ("conv1", nn.Conv2d(3, 6, 3, padding=1)),
        ("norm1", nn.BatchNorm2d(6) if norm else nn.Identity()),
        ("relu1", nn.ReLU(inplace=True)),
        ("pool", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(6, 5, 3, padding=1, groups=1)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.AvgPool2d(4)),
        ("flat", nn.Flatten()),
        ("fc", nn.Linear(20, 3)),
    ]
    torch.manual_seed(2)
    network = nn.Sequential(OrderedDict(stages))
    if norm:
        network.norm1.running_mean.uniform_(-1, 1)
        nn.init.normal_(network.norm1.bias)
    return network


def depthwise() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 3),
    )  # fmt: skip


# The network, the part, and whether the next layer alone has to be updated.
CASES = {
    "before a convolution": (chain, "relu1", True),
    "behind a convolution": (chain, "conv1", True),
    "before a normalisation": (lambda: chain(norm=True), "conv1", True),
    "before a linear layer": (chain, "relu2", True),
    "a depthwise convolution": (depthwise, "1", True),
    "mixed before the next layer": (Residual, "stem", False),
    "tokens": (tokens, "encoder.layers.encoder_layer_0.mlp.1", False),
    "scores": (chain, "fc", False),
}


def pictures(count: int = 60) -> GivenPictures:
    draws = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 16, 16, generator=draws) * 2 - 1
    return GivenPictures(images, torch.arange(count) % 3, NAMES)


def naively(classifier, part: str, images: torch.Tensor, units) -> torch.Tensor:
    """The scores of whole runs in which a hook writes zeros."""

    def switch_off(module, inputs, output):
        output = output.clone()
        if output.ndim == 3:
            output[..., units] = 0
        else:
            output[:, units] = 0
        return output

    handle = classifier.module.get_submodule(part).register_forward_hook(switch_off)
    try:
        return classifier.logits(images)
    finally:
        handle.remove()


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_scores_without_units_are_those_of_whole_runs_with_the_units_at_zero(case):
    build, part, quick = CASES[case]
    classifier, images = wrap(build(), images=16), pictures(5).pictures
    following = next_layer(classifier, part, images[:2])
    started = ablations(classifier, part, images, following)
    assert isinstance(started, Updated if quick else Rerun)
    torch.testing.assert_close(started.whole, classifier.logits(images), rtol=1e-4, atol=1e-5)
    for units in ([0], [2], [1, 2]):
        torch.testing.assert_close(
            started.without(units), naively(classifier, part, images, units), rtol=1e-4, atol=1e-5
        )


def named_right(scores: torch.Tensor, truth: torch.Tensor, number: int) -> float:
    named = scores.argmax(dim=1)
    found, kept = (named[truth == number] == number), (named[truth != number] != number)
    return (float(found.double().mean()) + float(kept.double().mean())) / 2


@torch.no_grad()
@pytest.mark.parametrize(("build", "part"), [(chain, "relu1"), (chain, "relu2"), (Residual, "stem")])
def test_importance_is_that_of_naive_ablation_and_sets_are_scored_on_other_pictures(build, part):
    torch.manual_seed(4)
    classifier, shown = wrap(build(), images=16), pictures()
    split = shown.split(12, 8)
    assert not set(split.training) & set(split.test)
    roles = find_roles(classifier, part, shown, split, sizes=(1, 2))
    images, truth = shown.images(split.training), shown.classes(split.training)
    for number in roles.classes:
        whole = named_right(classifier.logits(images), truth, number)
        for unit in range(roles.units):
            without = named_right(naively(classifier, part, images, [unit]), truth, number)
            assert roles.importance[unit, number] == pytest.approx(whole - without, abs=1e-9)
    test, expected = shown.images(split.test), shown.classes(split.test)
    for row, ((number, kind), units) in enumerate(roles.sets.items()):
        if kind == "keep":
            kept = set(range(roles.units)) - set(units)
            assert kept == set(roles.best(number, 2))
            scores = naively(classifier, part, test, list(units))
            assert roles.tally.accuracy[row, number] == pytest.approx(named_right(scores, expected, number))


def test_the_first_guess_orders_units_as_measuring_does_and_is_exact_where_all_is_linear():
    classifier, shown = wrap(chain(), images=16), pictures(120)
    split = shown.split(30, 10)
    # The two likeliest classes are the only ones that the guess knows.
    two = wrap(nn.Sequential(chain(), nn.Linear(3, 2)), images=16)
    shown_two = GivenPictures(shown.pictures, torch.arange(120) % 2, NAMES[:2])
    found = find_roles(two, "0.relu2", shown_two, shown_two.split(40, 20), sizes=(1, 2))
    np.testing.assert_allclose(found.guessed, found.soft_importance, atol=1e-6)
    assert find_roles(classifier, "relu2", shown, split, sizes=(1, 2)).screen_correlation.value > 0.9


def test_a_screen_measures_only_the_promising_units_and_leaves_the_others_to_the_guess():
    classifier, shown = wrap(chain(), images=16), pictures()
    found = find_roles(classifier, "relu1", shown, shown.split(10, 10), sizes=(1, 2), promising=1)
    measured = ~np.isnan(found.importance[:, 0])
    assert 1 <= measured.sum() <= 3
    for units in found.order:
        assert measured[units[: measured.sum()]].all()


def test_units_that_were_planted_for_a_class_are_its_most_important_ones():
    """Three classes light one colour each, which one unit sees; the fourth lights none."""
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for number, unit in enumerate((3, 0, 4)):
            network[0].weight[unit, number] = 1
            network[4].weight[number, unit] = 1
        network[4].bias[3] = 0.1
    images, truth = torch.full((80, 4, 8, 8), -1.0), torch.arange(80) % 4
    images[torch.arange(80), truth] = 1
    shown = GivenPictures(images[:, :3], truth, (*NAMES, "d"))
    found = find_roles(wrap(network, images=8), "1", shown, shown.split(10, 10), sizes=(1, 2))
    assert [found.best(number, 1) for number in range(3)] == [[3], [0], [4]]


def test_balanced_accuracy_counts_both_sides_alike():
    hits, named, pictures = np.array([[8.0, 1.0]]), np.array([[9.0, 3.0]]), np.array([10, 2])
    np.testing.assert_allclose(balanced(hits, named, pictures), [[(0.8 + 1 - 1 / 2) / 2, (0.5 + 1 - 2 / 10) / 2]])


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found, wrong = random.binomial(20, 0.95), random.binomial(100, 0.02)
        interval = balanced_interval(found, found + wrong, 20, 100)
        held += interval.low <= (0.95 + 0.98) / 2 <= interval.high
    assert 0.9 < held / 400 <= 1
    assert counted(20, 20).low < 1 == counted(20, 20).high


def test_a_rank_correlation_has_an_interval_unless_there_is_nothing_to_order():
    found = rank_correlation(np.arange(50.0), np.arange(50.0) ** 3)
    assert found.value == pytest.approx(1)
    assert np.isnan(rank_correlation(np.zeros(50), np.arange(50.0)).value)


@pytest.mark.parametrize(("sizes", "says"), [((0, 2), "name smaller"), ((2, 6), "name smaller")])
def test_sets_that_do_not_fit_are_refused(sizes, says):
    shown = pictures()
    with pytest.raises(ValueError, match=says):
        find_roles(wrap(chain(), images=16), "relu1", shown, shown.split(5, 5), sizes=sizes)


def test_a_split_is_of_every_class_and_refuses_a_class_of_one_picture():
    split = pictures(9).split(2, 5)
    assert (len(split.training), len(split.test)) == (3, 6)
    with pytest.raises(ValueError, match="class c has one picture"):
        GivenPictures(torch.zeros(5, 3, 4, 4), torch.tensor([0, 0, 1, 1, 2]), NAMES).split(1, 1)


def test_a_folder_of_classes_is_read_by_the_names_of_its_folders(tmp_path):
    from PIL import Image

    classifier = wrap(chain(), images=16, classes=NAMES)
    for name, colour in (("b", 255), ("2", 0)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 30), (colour, 0, 0)).save(tmp_path / name / "one.png")
    found = ClassFolder(tmp_path, classifier)
    assert found.classes(found.numbers).tolist() == [2, 1]
    assert found.images(found.numbers).shape == (2, 3, 16, 16)
    assert found.images([1])[0, 0].min() == 1
    (tmp_path / "d").mkdir()
    with pytest.raises(LookupError, match="no class 'd'"):
        ClassFolder(tmp_path, classifier)


def test_the_built_in_classifier_names_scenes_that_it_never_saw():
    classifier, shown = load_classifier(), SceneClasses(5)
    named = classifier.predict(shown.images(shown.numbers))
    assert (named == shown.classes(shown.numbers)).double().mean() > 0.95
    assert classifier.classes == tuple(shown.names)


def test_a_probe_of_pictures_sees_tokens_as_maps():
    probe = PictureProbe(tokens(), ["encoder.layers.encoder_layer_0.mlp.0"], Scenes(count=3, size=16))
    assert probe.units == {"encoder.layers.encoder_layer_0.mlp.0": 16}
    assert probe.activations(probe.pictures.numbers)["encoder.layers.encoder_layer_0.mlp.0"].shape == (3, 16, 4, 4)


def test_a_screen_of_tokens_sums_over_tokens():
    shown = pictures(12)
    tally = screened(wrap(tokens(), images=16), "encoder.layers.encoder_layer_0.mlp.1", shown, shown.numbers)
    assert tally.accuracy.shape == (16, 3)


def test_a_level_of_a_detector_is_the_best_on_some_pictures_and_counted_on_others():
    draws = np.random.default_rng(0)
    first, other = (torch.from_numpy(draws.integers(0, 9, (count, 4)).astype(np.float32)) for count in (40, 30))
    truth, of_other = torch.arange(40) % 3, torch.arange(30) % 3
    first[truth == 1, 2] += 6
    found = Detectors.of((first, other), (truth, of_other), [0, 1])
    for unit in range(4):
        for column, number in enumerate((0, 1)):

            def told(level: float, peaks=first[:, unit], own=truth == number) -> float:
                lit = peaks > level
                return float(lit[own].double().mean() + (~lit)[~own].double().mean()) / 2

            best = max(told(level) for level in (*first[:, unit].tolist(), -1.0))
            level = float(found.levels[unit, column])
            assert told(level) == pytest.approx(found.chosen_by[unit, column])
            assert told(level) >= best - 1e-12 or level >= float(first[:, unit].max())
            lit = other[:, unit] > level
            assert found.named[unit, column] == int(lit.sum())
            assert found.hits[unit, column] == int((lit & (of_other == number)).sum())
    assert found.best(1) == 2
    assert found.accuracy(2, 1, 20).value == pytest.approx(told_on(other[:, 2] > found.levels[2, 1], of_other == 1))


def told_on(lit: torch.Tensor, own: torch.Tensor) -> float:
    return float(lit[own].double().mean() + (~lit)[~own].double().mean()) / 2
