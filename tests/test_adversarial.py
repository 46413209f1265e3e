"""Attacks stay in their ball and do what they promise; units that were planted for two classes move as they must."""

import importlib.util
import json
import sys

import pytest
import torch
from torch import nn

from apps.cli import main
from dissect.adversarial.attack import ATTACKS, FMN, Attack, default_radius
from dissect.adversarial.confusion import Confusion, aims_of, find_confusion
from dissect.adversarial.confusion_page import confusion_page
from rewrite import wrap
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from tests.markup import HOSTILE, assert_shown_as_text
from tests.test_grey import write_idx
from tests.test_roles import GivenPictures

HAS_FOOLBOX = importlib.util.find_spec("foolbox") is not None
METHODS = [
    pytest.param(name, marks=pytest.mark.skipif(name == FMN and not HAS_FOOLBOX, reason="foolbox is not installed"))
    for name in ATTACKS
]


@pytest.fixture(scope="module")
def brightness():
    """Class number c has the brightest colour c; unit c is that colour's mean."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        for layer in (network[2], network[4]):
            layer.weight.copy_(torch.eye(3))
            layer.bias.zero_()
        network[2].bias.fill_(2)
        network[4].weight.mul_(5)
    return wrap(network, images=4, classes=("r", "g", "b"))


def coloured(count: int = 12) -> GivenPictures:
    draws = torch.Generator().manual_seed(0)
    images, truth = torch.rand(count, 3, 4, 4, generator=draws) * 0.2 - 0.1, torch.arange(count) % 3
    images[torch.arange(count), truth] += 0.1
    return GivenPictures(images, truth, ("r", "g", "b"))


def size_of(change: torch.Tensor, norm: str) -> torch.Tensor:
    flat = change.flatten(1) / 2
    return flat.abs().amax(dim=1) if norm == "linf" else flat.norm(dim=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.1), ("l2", 0.7)])
def test_an_attack_reaches_its_target_and_stays_in_its_ball(brightness, method, norm, radius):
    shown = coloured()
    images, aim = shown.images(shown.numbers), (shown.classes(shown.numbers) + 1) % 3
    assert torch.equal(brightness.predict(images), shown.classes(shown.numbers))
    changed = Attack(norm, radius, 30, method).on(brightness, images, aim, targeted=True, numbers=tuple(shown.numbers))
    # The least change that is enough lies on the border of two classes, where rounding may decide.
    assert int((brightness.predict(changed) == aim).sum()) >= len(aim) - (method == FMN)
    assert float(size_of(changed - images, norm).max()) <= radius * 1.0001
    assert changed.abs().max() <= 1


def test_an_attack_of_no_consequence_changes_nothing_that_matters_and_gives_the_same_in_any_batch(brightness):
    shown = coloured()
    attack, truth = Attack("linf", 0.001, 3), shown.classes(shown.numbers)
    images, numbers = shown.images(shown.numbers), tuple(shown.numbers)
    whole = attack.on(brightness, images, truth, targeted=False, numbers=numbers)
    parts = [attack.on(brightness, images[i : i + 1], truth[i : i + 1], targeted=False, numbers=(i,)) for i in numbers]
    torch.testing.assert_close(whole, torch.cat(parts))
    assert torch.equal(brightness.predict(whole), truth)


def test_the_units_of_the_true_class_fall_and_those_of_the_target_rise(brightness):
    shown = coloured()
    truth = shown.classes(shown.numbers)
    found = find_confusion(brightness, "3", shown, shown.numbers, (truth + 1) % 3, Attack("linf", 0.1, 20))
    assert bool(found.reached.all())
    moved = found.moved({0: [0], 1: [1], 2: [2]})
    assert moved["true"].high < 0 < moved["target"].low
    anything = find_confusion(brightness, "3", shown, shown.numbers, torch.full((12,), -1), Attack("linf", 0.1, 20))
    assert torch.equal(anything.target, anything.after)
    assert bool(anything.reached.all())


def test_a_picture_that_was_named_wrong_before_is_not_counted_as_reached():
    peaks = torch.zeros(2, 1)
    found = Confusion(
        [0, 1], torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([1, 0]), torch.ones(2).long(), peaks, peaks
    )
    assert found.reached.tolist() == [False, True]


def test_aims_are_other_classes_and_the_same_each_time():
    truth = torch.arange(30) % 3
    aims = aims_of(truth, [0, 1, 2])
    assert not bool((aims == truth).any())
    assert torch.equal(aims, aims_of(truth, [0, 1, 2]))
    with pytest.raises(ValueError, match="only one"):
        aims_of(truth, [0])


def test_the_usual_radius_grows_with_the_side_for_l2_alone():
    assert default_radius("linf", (8, 8)) == default_radius("linf", (64, 64)) == 8 / 255
    assert default_radius("l2", (64, 32)) == 1


@pytest.fixture
def small(tmp_path):
    design = SmallDesign(tuple("012"), (4, 6), size=(8, 8))
    save_small(tmp_path / "small.safetensors", initialised(design, 0), {})
    draws = torch.Generator().manual_seed(0)
    write_idx(
        tmp_path / "pictures",
        torch.randint(0, 256, (36, 8, 8), generator=draws).numpy(),
        (torch.arange(36) % 3).numpy(),
    )
    return [
        *("adversarial", str(tmp_path / "small.safetensors"), "--pictures", str(tmp_path / "pictures"), "--steps", "5"),
        *("--training", "4", "--test", "8", "--few", "2", "--radius", "0.3", "--layer", "relu2"),
        *("--out", str(tmp_path / "out")),
    ]


def test_the_command_writes_a_page_and_goes_on_from_its_file(small, tmp_path, capsys, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("apps.commands.adversarial.document_of", stop)
        assert main(small) == 130
    assert main([*small, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["attacked"] == 24
    assert [row["class"] for row in document["classes"]] == ["0", "1", "2"]
    assert {len(row["units"]) for row in document["classes"]} == {2}
    page = (tmp_path / "out" / "adversarial.html").read_text()
    assert "data:image/png" in page
    assert "http://" not in page
    document["classes"][0]["class"] = HOSTILE
    assert_shown_as_text(confusion_page(document, None, HOSTILE))
    assert main([*small[:-2], "--target", "1", "--out", str(tmp_path / "one"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["attacked"], one["targeted"]) == (16, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--radius", "0"), "a radius above zero"),
        (("--steps", "0"), "a radius above zero and steps"),
        (("--target", "7"), "no class '7'"),
        (("--few", "6"), "name smaller ones"),
        (("--norm", "l1"), "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(small, arguments, says, capsys):
    assert main([*small, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_an_attack_of_a_package_that_is_missing_is_refused_with_what_to_install(small, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    assert main([*small, "--attack", "fmn"]) == 2
    assert "model-rewriting[attacks]" in capsys.readouterr().err
