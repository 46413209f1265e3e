"""Classes by seeds: in images, memories, rules, reports and on the command line."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from apps import estimates
from dissect.causes.painting import Painting, prefix_of
from dissect.causes.stroke import Stroke
from dissect.units.probe import GeneratorProbe
from rewrite import Mask, Memory, Rule, load_generator, measure, report_on, solve
from rewrite.checkpoints import native
from rewrite.generators.classes import classes_of, label_of
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.networks import CONFIG, marked_rule, random_stylegan2
from tests.test_regions import BRIGHT

STROKE = Stroke(Mask((16, 16), ((34, 4), (50, 4))), units=(4, 2), action="remove")


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    path = tmp_path_factory.mktemp("classed") / "model.safetensors"
    native.save(path, StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, c_dim=4))), {})
    return path


@pytest.mark.parametrize(
    ("given", "label", "drawn"),
    [
        (2, 2, [2, 2, 2, 2, 2]),
        ("2", 2, [2, 2, 2, 2, 2]),
        (None, None, [0, 1, 2, 3, 0]),
        ("mixed", None, [0, 1, 2, 3, 0]),
        ("3, 1", "3,1", [3, 1, 3, 1, 3]),
        ("mixed,1-2:0", "mixed,1-2:0", [0, 0, 0, 3, 0]),
        ("3,4:1", "3,4:1", [3, 3, 3, 3, 1]),
        ({0: 3, 1: 2, 2: 2, 3: 0, 4: 1}, "0:3,1:2,2:2,3:0,4:1", [3, 2, 2, 0, 1]),
    ],
)
def test_seeds_draw_the_classes_that_a_text_or_a_dictionary_says(classed, given, label, drawn):
    generator = load_generator(classed, label=given)
    assert generator.label == label == label_of(label, 4)
    assert classes_of(label, range(5), 4) == drawn
    images = generator.sample(range(5))
    for seed, number in enumerate(drawn):
        torch.testing.assert_close(images[seed], load_generator(classed, label=number).sample([seed])[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("4", "draws classes 0 to 3, got 4"),
        ("1,4", "draws classes 0 to 3, got 4"),
        ({2: 4}, "draws classes 0 to 3, got 4"),
        ("dogs", "a class is a number, mixed, several such as"),
        ("1,", "a class is a number, mixed, several such as"),
        ("2:mixed", "a class is a number, mixed, several such as"),
        (-1, "a class is a number, mixed, several such as"),
    ],
)
def test_classes_that_are_none_are_refused(classed, given, said):
    with pytest.raises(ValueError, match=said):
        load_generator(classed, label=given)


def test_a_seed_that_the_map_does_not_name_is_refused(classed):
    generator = load_generator(classed, label={1: 2})
    assert generator.sample([1]).shape[0] == 1
    with pytest.raises(ValueError, match="seed 2 has no class in 1:2: say what other seeds draw, such as mixed,1:2"):
        generator.sample([1, 2])


def test_a_memory_over_classes_says_so_and_fits_no_other(classed, tmp_path, answer):
    out = tmp_path / "memory.safetensors"
    given = ("--layer", "b8.conv1", "--samples", "20", "--class", "3,1", "--out", out)
    assert answer("measure", classed, *given)["class"] == "3,1"
    memory = Memory.load(out)
    assert "class=3,1" in repr(memory)
    assert answer("inspect", out)["class"] == "3,1"
    memory.check(load_generator(classed, label="3,1"), "b8.conv1")
    with pytest.raises(ValueError, match="measured on class 3,1, not on class mixed"):
        memory.check(load_generator(classed, label=None), "b8.conv1")


def test_a_rule_and_its_report_over_classes_say_so(classed, tmp_path, answer, refusal):
    label = "mixed,1:3"
    generator = load_generator(classed, label=label)
    rule = marked_rule(classed, layer="b8.conv1", label=label)
    rule.save(tmp_path / "rule.json")
    assert Rule.load(tmp_path / "rule.json") == rule
    patch = solve(generator, measure(generator, rule.layer, 20), rule)
    assert report_on(generator, patch, seeds=[4, 5]).document()["class"] == label
    given = [
        "solve",
        tmp_path / "rule.json",
        "--model",
        classed,
        "--samples",
        "20",
        "--out",
        tmp_path / "p.safetensors",
    ]
    assert answer(*given)["layer"] == "b8.conv1"  # of the rule's classes, where none are named
    for named in ("0", "mixed"):
        assert f"written on class {label}, the generator draws class {named}" in refusal(*given, "--class", named)
    report = ["report", tmp_path / "p.safetensors", "--model", classed, "--seeds", "4-5", "--out", tmp_path / "report"]
    assert answer(*report)["class"] == label


def test_a_dissection_knows_its_class(classed):
    first, third = (
        GeneratorProbe(load_generator(classed, label=label), ["b8.conv1"], BRIGHT).identity for label in (0, "3")
    )
    assert third == {**first, "class": "3"}


def test_a_generator_without_classes_takes_none(tiny_generator):
    tiny_generator.draw_class(0)
    for label in (1, None, "mixed", {3: 0}):
        with pytest.raises(ValueError, match="has no classes"):
            tiny_generator.draw_class(label)


def test_the_time_of_images_of_a_map_is_foretold_from_one_that_it_names(classed, monkeypatch, capsys):
    monkeypatch.setattr(estimates, "LEAST_SECONDS", 0)
    estimates.foretell(load_generator(classed, label={7: 2}), 1000, 7)
    assert "to draw 1000 images" in capsys.readouterr().err


@pytest.mark.parametrize("label", [3, None, "3,1", "mixed,5:2"])
def test_a_painting_keeps_the_class_of_its_image(classed, tmp_path, answer, label):
    generator = load_generator(classed, label=label)
    painting = Painting(generator.fingerprint, "b8.conv1", 5, label=label).add(STROKE)
    painting.save(tmp_path / "strokes.json")
    again = Painting.load(tmp_path / "strokes.json")
    assert again == replace(painting, past=())
    # The class is the painting's, whatever the generator draws otherwise.
    other = load_generator(classed, label=1)
    torch.testing.assert_close(prefix_of(other, again).images(), generator.sample([5]))
    assert other.label == 1
    assert answer("inspect", tmp_path / "strokes.json")["label"] == label
    answer("paint", tmp_path / "strokes.json", "--model", classed, "--out", tmp_path / "own.png")
    named = ["--class", {None: "mixed"}.get(label, str(label))]
    answer("paint", tmp_path / "strokes.json", "--model", classed, *named, "--out", tmp_path / "named.png")
    answer("paint", tmp_path / "strokes.json", "--model", classed, "--class", "0", "--out", tmp_path / "other.png")
    own, named, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("own", "named", "other"))
    assert own == named != other


def test_a_painting_of_a_class_that_is_not_there_is_refused(classed, tiny_generator):
    for label, said in ((4, "draws classes 0 to 3, got 4"), ("dogs", "a class is a number")):
        painting = Painting(load_generator(classed).fingerprint, "b8.conv1", 5, label=label)
        with pytest.raises(ValueError, match=said):
            prefix_of(load_generator(classed), painting)
    with pytest.raises(ValueError, match="has no classes"):
        prefix_of(tiny_generator, Painting(tiny_generator.fingerprint, "b8.conv1", 5, label=2))
    first = Painting("", "b8.conv1", 5)
    assert "label" not in first.to_json()  # as of versions that knew no class


def test_strokes_are_applied_to_latents_of_a_file(classed, tmp_path, answer):
    generator = load_generator(classed)
    Painting(generator.fingerprint, "b8.conv1", 5).add(STROKE).save(tmp_path / "strokes.json")
    np.savez(tmp_path / "w.npz", w=generator.styles(generator.latents([5, 6])).detach().numpy())
    arguments = [tmp_path / "strokes.json", "--model", classed, "--latents", tmp_path / "w.npz"]
    said = answer("paint", *arguments, "--out", tmp_path / "a.png")
    assert said["seeds"] == [0, 1]
