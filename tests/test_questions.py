"""Questions to a classifier: answers are those of whole runs with the units at zero, and links ask them again."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from dissect import Lit, Question, Subset, examine
from dissect.questions.answer_page import answer_page
from dissect.questions.gallery import Gallery
from dissect.questions.heats import heats, tops
from dissect.questions.off_patch import off_patch
from dissect.questions.offers import offers_for
from dissect.questions.parts import parts_of, usual_part
from dissect.questions.runs import Runs
from dissect.roles.accuracy import balanced_interval
from rewrite import Patch, wrap
from tests.test_roles import NAMES, chain, naively, pictures
from tests.test_specialties import NAMES as STEM_NAMES
from tests.test_specialties import planted, stems

PART, OFF = "relu1", (1, 4)


def examined():
    """A random network, which names about a third of its pictures right."""
    shown = pictures(90)
    with torch.random.fork_rng():
        torch.manual_seed(23)
        classifier = wrap(chain(), images=16, classes=NAMES)
    return examine(classifier, PART, shown, shown.split(10, 20))


@pytest.fixture(scope="module")
def one():
    return examined()


@pytest.fixture(scope="module")
def planted_stems():
    shown = stems()
    return examine(wrap(planted(), images=4, classes=STEM_NAMES), "4", shown, shown.split(30, 30))


@torch.no_grad()
def named(one, off) -> list[int]:
    """What the pictures are named in whole runs in which a hook writes zeros."""
    images = one.pictures.images(one.split.test)
    scores = naively(one.classifier, one.part, images, list(off)) if off else one.classifier.logits(images)
    return scores.argmax(dim=1).tolist()


def test_an_answer_is_that_of_whole_runs_with_the_units_at_zero_counted_one_by_one(one):
    before, after, truth = named(one, ()), named(one, OFF), one.test.truth.tolist()
    assert before != after
    numbers = list(one.split.test)
    asked = set(numbers[::2])
    answer = one.ask(Question(PART, 1, OFF, Subset(only=tuple(sorted(asked)))))
    rows = list(zip(numbers, truth, before, after, strict=True))
    mine = [row for row in rows if row[0] in asked and row[2] != row[3]]
    assert answer.lost == [row for row in mine if row[2] == row[1]]
    assert answer.gained == [row for row in mine if row[3] == row[1]]
    assert answer.otherwise == [row for row in mine if row[1] not in row[2:]]
    assert answer.lost
    assert answer.gained

    def counts(part):
        return len(part), sum(row[2] == row[1] for row in part), sum(row[3] == row[1] for row in part)

    assert answer.right["subset"] == counts([row for row in rows if row[0] in asked])
    assert answer.right["rest"] == counts([row for row in rows if row[0] not in asked and row[1] == 1])
    assert answer.right["elsewhere"] == counts([row for row in rows if row[0] not in asked and row[1] != 1])
    assert answer.overall == counts(rows)
    for column, found in zip((2, 3), answer.balanced(1), strict=True):
        hits = sum(row[column] == row[1] == 1 for row in rows)
        expected = balanced_interval(hits, sum(row[column] == 1 for row in rows), 20, 40)
        assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


def test_a_set_of_pictures_is_those_for_which_all_conditions_hold(one):
    seen, level = one.test, float(one.test.peaks[:, 3].median())
    subset = Subset(of=2, named=0, lit=(Lit(3, level), Lit(2, 1e9, above=False)))
    expected = [
        truth == 2 and name == 0 and peaks[3] > level
        for truth, name, peaks in zip(seen.truth.tolist(), named(one, ()), seen.peaks.tolist(), strict=True)
    ]
    assert subset.holds(seen).tolist() == expected
    assert any(expected)
    assert bool(Subset().holds(seen).all())
    with pytest.raises(ValueError, match="none of the pictures is so: pictures of a, unit 2 above 1e"):
        one.ask(Question(PART, 0, (), Subset(of=0, lit=(Lit(2, 1e9),))))


def test_peaks_are_those_that_the_part_gives(one):
    images = one.pictures.images(one.split.test)
    expected = one.classifier.stop(PART, images).output.amax(dim=(2, 3))
    torch.testing.assert_close(one.test.peaks, expected.detach())


def test_what_lights_is_told_by_deviations_from_all_pictures(one):
    chosen = one.test.truth == 1
    peaks = one.test.peaks.double().numpy()
    expected = (peaks[chosen.numpy()].mean(axis=0) - peaks.mean(axis=0)) / peaks.std(axis=0)
    torch.testing.assert_close(one.lights(chosen).double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


def test_runs_that_find_no_room_are_run_again_and_give_the_same(one):
    none = Runs(one.classifier, PART, one.pictures, one.split.test, one.runs.following, most_bytes=0)
    assert none.named(OFF).tolist() == one.runs.named(OFF).tolist() == named(one, OFF)
    assert none.left == 0
    assert one.runs.left < 512 * 2**20


@pytest.mark.parametrize(
    "question",
    [
        Question(PART, 0),
        Question(PART, 2, OFF, Subset(of=1, named=2, lit=(Lit(3, 0.25), Lit(0, -1.5e-7, above=False)))),
        Question(PART, 1, (5,), Subset(only=(3, 1, 7)), at=4),
    ],
)
def test_a_link_asks_the_same_question_again(one, question):
    query = question.query(NAMES, one.about)
    assert Question.from_query(f"?{query}", one.classifier, one.about) == question
    assert set(query) <= set("abcdefghijklmnopqrstuvwxyz0123456789=&,<>.+-_%")


def test_a_link_gives_the_same_answer_in_another_run(one):
    condition = one.lit(3, 1)
    query = Question(PART, 1, OFF, Subset(of=1, lit=(condition,))).query(NAMES, one.about)
    first, second = (each.ask(Question.from_query(query, each.classifier, each.about)) for each in (one, examined()))
    assert json.dumps(first.document()) == json.dumps(second.document())
    assert first.right["subset"].pictures < 20


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("layer=relu1", "names no class"),
        ("class=a&layer=relu1&evil=1", "a link has no 'evil'"),
        ("class=a&class=b&layer=relu1", "names class once"),
        ("class=dog&layer=relu1", "no class 'dog'"),
        ("class=a&layer=relu1&off=1,,2", "by a whole number, got ''"),
        ("class=a&layer=relu1&off=-1", "by a whole number, got '-1'"),
        ("class=a&layer=relu1&off=99999999999", "by a whole number"),
        ("class=a&layer=relu1&off=1,1", "once each"),
        ("class=a&layer=relu1&off=٣", "by a whole number"),
        ("class=a&layer=relu1&lit=3>nan", "such as 12>0.5"),
        ("class=a&layer=relu1&lit=3>1e999", "such as 12>0.5"),
        ("class=a&layer=relu1&lit=3>1.2.3", "such as 12>0.5"),
        ("class=a&layer=relu1&at=<script>", "a picture by a whole number"),
        ("class=a&layer=relu1&model=0123", "of another classifier"),
        ("class=a&layer=relu1&pictures=0123", "of another set of pictures"),
        ("class=%ff&layer=relu1", "cannot be read"),
        ("a=1&" * 70, "cannot be read"),
        ("class=" + "a" * 20_000, "at most 16000 characters"),
    ],
)
def test_what_is_no_question_is_refused_in_a_sentence(one, query, said):
    with pytest.raises((ValueError, LookupError), match=said) as refused:
        Question.from_query(query, one.classifier, one.about)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(PART, 0, (6,)), "units 0 to 5, got 6"),
        (Question(PART, 0, (), Subset(lit=(Lit(9, 0.0),))), "units 0 to 5, got 9"),
        (Question(PART, 7), "classes 0 to 2, got 7"),
        (Question(PART, 0, (), Subset(only=(100,))), "picture 100 is none"),
        (Question(PART, 0, at=-1), "picture -1 is none"),
        (Question("conv2", 0), "about part conv2, not about relu1"),
    ],
)
def test_a_question_about_what_is_not_there_is_refused(one, question, said):
    with pytest.raises((ValueError, LookupError), match=said):
        one.ask(question)


def test_the_part_of_a_class_that_a_planted_unit_tells_is_offered_with_that_unit(planted_stems):
    offers = offers_for(planted_stems, 0)
    assert [(offer.condition.unit, offer.units) for offer in offers] == [(0, (0,))]
    condition = offers[0].condition
    answer = planted_stems.ask(Question("4", 0, (0,), Subset(of=0, lit=(condition,))))
    crossed = answer.right["subset"].pictures
    assert crossed == offers[0].pictures > 0
    assert answer.right["subset"] == (crossed, crossed, 0)
    assert answer.right["rest"] == (30 - crossed,) * 3
    assert answer.sentence == (
        f"Without unit 0, 0 of the {crossed} pictures are named right; with all units, {crossed}. "
        f"{crossed} are lost, all now named plain."
    )
    assert planted_stems.most_important(0, 1) == (2,)
    assert offers_for(planted_stems, 1) == []


def after_norm() -> tuple[nn.Module, list[int]]:
    """A network whose normalisation makes something of units that are zero, and two such units."""
    network = chain(norm=True)
    made = network.norm1.eval()(torch.zeros(1, 6, 1, 1))[0, :, 0, 0]
    return network, made.argsort(descending=True)[:2].tolist()


@torch.no_grad()
@pytest.mark.parametrize(
    ("build", "part", "layer"),
    [
        (lambda: (chain(), [0, 3]), "relu1", "conv1"),
        (lambda: (chain(), [0, 3]), "conv2", "conv2"),
        (lambda: (chain(norm=True), [0, 3]), "conv1", "conv1"),
        (after_norm, "relu1", "conv2"),
    ],
)
def test_a_patch_switches_units_off_for_good(build, part, layer, tmp_path):
    network, units = build()
    classifier, shown = wrap(network, images=16), pictures(9)
    expected = naively(classifier, part, shown.pictures, units)
    patch = off_patch(classifier, part, units[::-1], shown.pictures[:4])
    assert (patch.layer, patch.forecast["units"]) == (layer, sorted(units))
    patch.save(tmp_path / "off.safetensors")
    with Patch.load(tmp_path / "off.safetensors").applied(classifier):
        torch.testing.assert_close(classifier.logits(shown.pictures), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("units", "said"), [([], "at least one"), ([1, 1], "each once"), ([6], "units 0 to 5, got 6")])
def test_a_patch_of_units_that_are_not_there_is_refused(units, said):
    with pytest.raises(ValueError, match=said):
        off_patch(wrap(chain(), images=16), "relu1", units, pictures(2).pictures)


class Block(nn.Module):
    """A convolution that is added to what it reads."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


def test_units_that_no_single_layer_switches_off_are_refused():
    blocks = nn.Sequential(nn.Conv2d(3, 4, 3), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="no single layer of this network switches units of 1 off"):
        off_patch(wrap(blocks, images=16), "1", [0], pictures(4).pictures)


def test_the_parts_that_can_be_asked_are_those_with_units_that_run_once():
    relu = nn.ReLU()
    stages = [("conv", nn.Conv2d(3, 6, 3)), ("relu", relu), ("pool", nn.MaxPool2d(2)), ("again", relu)]
    module = nn.Sequential(OrderedDict([*stages, ("flat", nn.Flatten()), ("fc", nn.Linear(294, 3))]))
    parts = parts_of(wrap(module, images=16))
    assert {name: (part.units, part.positions) for name, part in parts.items()} == {
        "conv": (6, 196),
        "pool": (6, 49),
        "flat": (294, 1),
    }
    assert usual_part(parts) == "conv"


def test_heat_lies_where_the_unit_is_active_whether_maps_were_kept_or_not(planted_stems):
    shown = stems()
    one = examine(planted_stems.classifier, "1", shown, shown.split(30, 30))
    number = next(each for each in one.split.test if bool((shown.pictures[each][0, :, 3] > 0).all()))
    (heat,) = heats(one, [(1, number)])
    red, green, blue = torch.from_numpy(np.array(heat)).float().unbind(dim=2)
    coloured = (red - blue).abs() + (red - green).abs()
    assert float(coloured[:, 3].min()) > 20
    assert float(coloured[:, 0].max()) == 0
    bare = Gallery(one.classifier, "1", shown, most_bytes=0)
    torch.testing.assert_close(bare.maps([number])[number], one.gallery.maps([number])[number], rtol=1e-3, atol=1e-3)
    assert (bare.shown([number])[number] == one.gallery.shown([number])[number]).all()
    assert float(one.test.peaks[:, 1].max()) == float(one.test.peaks[one.test.numbers.index(tops(one, 1, 1)[0]), 1])


def test_a_report_needs_nothing_else_and_says_how_to_ask_again(one):
    answer = one.ask(Question(PART, 1, OFF))
    page = answer_page(one, answer, title="<b>it</b>", command="rewrite app own.pth")
    assert answer.sentence in page
    assert "&lt;b&gt;it&lt;/b&gt;" in page
    assert "<b>it" not in page
    assert answer.question.query(NAMES, one.about).replace("&", "&amp;") in page
    assert page.count('class="picture"') == len(answer.lost) + len(answer.gained) + len(answer.otherwise) > 0
    assert "://" not in page
    assert "data-do" not in page
