"""Subclasses: a unit that was planted for a part of a class is found, with what the network loses without it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from apps.cli import main
from dissect.specialties.losses import parts_of
from dissect.specialties.sheets import Sheets
from dissect.specialties.specialties import find_specialties
from dissect.specialties.specialty_page import specialty_page
from dissect.specialties.subclasses import otsu
from dissect.specialties.views import find_views
from rewrite import load_classifier, wrap
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.storage.ledger import Ledger
from tests.markup import HOSTILE, assert_shown_as_text
from tests.test_grey import write_idx
from tests.test_roles import GivenPictures

NAMES = ("stem", "plain")
CROSSED = 0.3


def planted() -> nn.Module:
    """Stems light the left column, and some of them the right one instead: units 2 and 0 see one each."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[0].weight[1, 0] = network[0].bias[1] = 0.5
        column = torch.arange(16) % 4
        network[3].weight[2, 16 + torch.nonzero(column == 0)[:, 0]] = 1
        network[3].weight[0, 16 + torch.nonzero(column == 3)[:, 0]] = 1
        network[5].weight[0, 0], network[5].weight[0, 2] = 1, 1
        network[5].bias[1] = 0.5
    return network


def stems(count: int = 120) -> GivenPictures:
    draws = torch.Generator().manual_seed(0)
    images, truth = torch.full((count, 3, 4, 4), -1.0), torch.arange(count) % 2
    crossed = torch.rand(count, generator=draws) < CROSSED
    images[(truth == 0) & crossed, :, :, 3] = 1
    images[(truth == 0) & ~crossed, :, :, 0] = 1
    return GivenPictures(images, truth, NAMES)


@pytest.fixture(scope="module")
def found():
    shown = stems()
    return find_specialties(wrap(planted(), images=4, classes=NAMES), "4", shown, shown.split(30, 30), most=1)


def test_to_show_no_part_at_all_is_refused():
    shown = stems()
    with pytest.raises(ValueError, match="one part or more is shown, got 0"):
        find_specialties(wrap(planted(), images=4, classes=NAMES), "4", shown, shown.split(30, 30), most=0)


def test_the_planted_subclass_is_found_with_its_unit_and_is_all_that_is_lost_without_it(found):
    one = found.found[0]
    assert (one.subclass.number, one.subclass.unit, one.chosen) == (0, 0, (0,))
    assert one.subclass.separation == pytest.approx(1)
    counts = found.test.counts(one.subclass, (0,))
    crossed = counts["subclass"][0]
    assert 3 <= crossed < 15
    assert counts == {"subclass": (crossed, crossed, 0), "rest": (30 - crossed,) * 3, "elsewhere": (30, 30, 30)}


def test_the_gradient_shows_what_lights_the_unit_and_where_else_more_light_changes_nothing(found):
    gradient = found.views.gradient[found.views.units.index(0), 0]
    # Of each of three colours only the first counts, and of the stems only the crossed ones are above zero.
    share = float(parts_of(found.found[0].subclass, found.training)["subclass"].double().mean() * 2)
    np.testing.assert_allclose(gradient[:, 3].numpy(), 0.5 * share, rtol=1e-5)
    assert float(gradient[:, :3].abs().max()) == 0
    torch.testing.assert_close(found.views.positive, found.views.gradient)


def test_the_positive_part_is_that_of_each_picture_and_not_of_their_mean():
    class Sign(nn.Module):
        def forward(self, images):
            return (images[:, 0].mean(dim=(1, 2)) ** 2)[:, None].expand(-1, 2)

    images = torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 1.0)])
    shown = GivenPictures(images, torch.zeros(2, dtype=torch.int64), NAMES)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Sign(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(3)[:, :, None, None])
        network[0].bias.zero_()
    views = find_views(wrap(network, images=2, classes=NAMES), "1", shown, [0, 1], [0], Ledger())
    assert float(views.gradient.abs().max()) == pytest.approx(0, abs=1e-7)
    assert float(views.positive.min()) == pytest.approx(0.25)


def test_a_level_splits_where_least_variance_is_left():
    values = np.concatenate([np.full(10, 1.0), np.full(5, 3.0)])
    assert otsu(values) == (2.0, pytest.approx(1))
    assert otsu(np.ones(4)) == (1.0, 0.0)
    random = np.random.default_rng(0).normal(size=2001)
    assert otsu(random)[1] == pytest.approx(2 / np.pi, abs=0.03)


@pytest.fixture
def small(tmp_path):
    """A small network with hidden layers, and a folder of IDX."""
    design = SmallDesign(tuple("0123"), (4, 4), size=(8, 8), hidden=(6,))
    save_small(tmp_path / "small.safetensors", initialised(design, 0), {})
    random = np.random.default_rng(0)
    write_idx(tmp_path / "pictures", random.integers(0, 256, (80, 8, 8)), np.arange(80) % 4)
    return [
        *("specialise", str(tmp_path / "small.safetensors"), "--pictures", str(tmp_path / "pictures")),
        *("--training", "10", "--test", "10", "--most", "2", "--layer", "relu3", "--out", str(tmp_path / "out")),
    ]


def test_a_run_that_was_stopped_goes_on_to_the_bytes_of_one_that_was_not(small, tmp_path, capsys, monkeypatch):
    assert main([*small[:-1], str(tmp_path / "whole")]) == 0

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("dissect.specialties.specialties.find_views", stop)
        assert main(small) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "out" / "specialise.safetensors")]) == 0
    assert "specialties of a run" in capsys.readouterr().out
    assert main([*small, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for name in ("specialise.json", "specialise.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {len(each["sets"]) for each in document["subclasses"]} == {4}
    assert "http://" not in (tmp_path / "out" / "specialise.html").read_text()
    assert main([*small[:-3], "relu2", *small[-2:]]) == 2
    assert "belongs to another run" in capsys.readouterr().err


def test_names_are_shown_as_text(small, tmp_path):
    assert main(small) == 0
    document = json.loads((tmp_path / "out" / "specialise.json").read_text())
    document["subclasses"] = [{**document["subclasses"][0], "class": HOSTILE}]

    sheets = [Sheets(None, None, Image.new("RGB", (4, 4)))]
    assert_shown_as_text(specialty_page(document, sheets, {}, HOSTILE))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--layer", "relu9"), "no part 'relu9': did you mean relu"),
        (("--units", "6"), "has units 0 to 5, got 6"),
        (("--pictures", "digits"), "digits are of classes that this classifier does not know"),
        (("--classes", "7"), "no class '7'"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(small, arguments, says, capsys):
    assert main([*small, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_the_built_in_digits_are_named_and_their_closed_fours_are_lost_alone():
    pytest.importorskip("sklearn")
    from dissect.sources.grey import digits

    classifier, shown = load_classifier("digits"), digits()
    truth = shown.classes(shown.numbers)
    assert (classifier.predict(shown.images(shown.numbers)) == truth).double().mean() > 0.95
    found = find_specialties(classifier, "relu4", shown, shown.split(50, 50), classes=[4], units=[3], most=1)
    counts = found.test.counts(found.found[0].subclass, found.found[0].chosen)
    lost = {name: (before - after) / count for name, (count, before, after) in counts.items()}
    assert lost["subclass"] > 0.4
    assert max(lost["rest"], lost["elsewhere"]) < 0.1
