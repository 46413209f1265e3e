"""Strokes that paint with units: what they do, how they are taken back, and what a document may hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dissect.causes.brush import Brush, best_units
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.painting import MOST_STROKES, SCHEMA, Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.segmenter import load_segmenter
from dissect.units.dissection import BUILT_IN, load_dissections
from rewrite import Mask, load_generator
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.rules.masks import cover_of
from tests.networks import random_stylegan2, random_stylegan3

LAYER = "b16.conv1"


def disc(row: float, column: float, radius: float, side: int = 64) -> Mask:
    rows, columns = np.mgrid[:side, :side]
    return Mask.from_array((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


@pytest.fixture(scope="module")
def towers():
    return load_generator("towers")


@pytest.fixture(scope="module")
def dissection():
    return load_dissections("towers")[LAYER]


@pytest.fixture
def tiny():
    generator = StyleGAN2Generator(random_stylegan2())
    return generator, Painting(generator.fingerprint, "b8.conv1", 5)


def test_a_painted_tree_is_a_tree_to_the_segmenter_inside_the_mask_and_hardly_anything_else(towers, dissection):
    segmenter, mask, seeds = load_segmenter(), disc(42, 14, 9), range(12)
    painting = Painting(towers.fingerprint, LAYER, 0).add(Stroke(mask, "tree"))
    prefix = Prefix.of(towers, LAYER, list(seeds))
    before, after = segmenter.label(prefix.images()), segmenter.label(painted(prefix, painting, dissection))
    inside, tree = mask.array(), segmenter.concepts.index("tree")
    assert (after == tree)[:, inside].mean() > 0.8
    assert (before == tree)[:, inside].mean() < 0.2
    assert (before != after)[:, ~inside].mean() < 0.03


def test_trees_that_are_painted_away_are_gone(towers, dissection):
    segmenter, seeds = load_segmenter(), range(12)
    tree = segmenter.concepts.index("tree")
    painting = Painting(towers.fingerprint, LAYER, 0)
    everywhere = Stroke(Mask.from_array(np.ones((64, 64))), "tree", action="remove")
    prefix = Prefix.of(towers, LAYER, list(seeds))
    before, after = (
        segmenter.label(painted(prefix, each, dissection)) for each in (painting, painting.add(everywhere))
    )
    assert (after == tree).sum() < 0.7 * (before == tree).sum()


def test_a_brush_takes_the_units_that_agree_best_and_the_level_of_each(dissection):
    brush = Brush.of_concept(dissection, "tree", 4)
    iou = dissection.scores.iou[:, dissection.concepts.number("tree")]
    assert set(brush.units) == set(np.argsort(iou)[-4:].tolist())
    assert brush.iou == tuple(sorted(brush.iou, reverse=True))
    assert brush.levels == tuple(dissection.levels[list(brush.units)].tolist())
    with pytest.raises(LookupError, match="did you mean tree"):
        Brush.of_concept(dissection, "trea")
    with pytest.raises(ValueError, match="1 to 96 units"):
        best_units(dissection, "tree", 97)


def test_where_a_concept_is_added_alone_all_other_units_are_off(dissection):
    stroke = Stroke(disc(20, 20, 6), "tree", count=4)
    brush, output = stroke.brush(dissection, LAYER), torch.randn(1, 96, 16, 16)
    inside = cover_of(stroke.mask.array(), (16, 16)) == 1
    found = stroke.intervention(brush, 96, (16, 16)).on(output)[0][:, inside]
    assert torch.equal(found[list(brush.units), 0], torch.tensor(brush.levels))
    assert found.count_nonzero() == found[list(brush.units)].count_nonzero()
    beside = replace(stroke, alone=False).intervention(brush, 96, (16, 16)).on(output)
    others = [unit for unit in range(96) if unit not in brush.units]
    assert torch.equal(beside[:, others], output[:, others])


def test_later_strokes_lie_over_earlier_ones(towers, dissection):
    """Compositing with over by hand: α = 1 − (1 − α₁)(1 − α₂), and the value that belongs to it."""
    whole = Mask.from_array(np.ones((64, 64)))
    below = Stroke(whole, units=(3,), strength=0.5)
    above = Stroke(whole, units=(3,), action="remove", strength=0.25)
    painting = Painting(towers.fingerprint, LAYER, 7).add(below).add(above)
    prefix, level = prefix_of(towers, painting), dissection.levels[3].item()
    alpha = 1 - (1 - 0.5) * (1 - 0.25)
    by_hand = Intervention((3,), (level * 0.5 * (1 - 0.25) / alpha,), alpha)
    assert torch.allclose(painted(prefix, painting, dissection), prefix.images(by_hand), atol=1e-5)


def test_a_stroke_moves_its_units_by_the_area_that_it_covers():
    array = np.zeros((16, 16), dtype=bool)
    array[:2, :2], array[2, 2] = True, True
    stroke = Stroke(Mask.from_array(array), units=(1,), action="remove")
    found = stroke.intervention(stroke.brush(None, "b8.conv1"), 5, (8, 8)).mask
    expected = torch.zeros(8, 8)
    expected[0, 0], expected[1, 1] = 1, 0.25
    assert torch.equal(found, expected)


def test_the_margin_of_a_stylegan3_lies_outside_the_image():
    generator = random_stylegan3()
    layer = list(generator.layers)[2]
    side, margin = generator.output(layer, generator.cut(layer, generator.latents([1]))).shape[-1], 2.0
    assert generator.layer(layer).margin == margin
    stroke = Stroke(Mask.from_array(np.ones((16, 16))), units=(1,), action="remove")
    shares = stroke.intervention(stroke.brush(None, layer), 12, (side, side), margin).mask
    inside = torch.zeros(side, side)
    inside[2:-2, 2:-2] = 1
    assert torch.allclose(shares, inside)


def test_a_stroke_that_is_taken_away_was_never_drawn(towers, dissection):
    painting = Painting(towers.fingerprint, LAYER, 3)
    strokes = [Stroke(disc(20, 20, 6), "cloud"), Stroke(disc(40, 14, 8), "tree"), Stroke(disc(30, 40, 9), "dome")]
    all_three = painting.add(strokes[0]).add(strokes[1]).add(strokes[2])
    prefix = prefix_of(towers, painting)
    without = painted(prefix, all_three.without(1), dissection)
    assert torch.equal(without, painted(prefix, painting.add(strokes[0]).add(strokes[2]), dissection))
    assert not torch.equal(without, painted(prefix, all_three, dissection))
    assert torch.equal(painted(prefix, all_three.cleared(), dissection), towers.sample([3]))


def test_undo_and_redo_walk_through_every_change(tiny):
    _, painting = tiny
    one, two = Stroke(disc(4, 4, 2, 16), units=(1,)), Stroke(disc(9, 9, 2, 16), units=(2,))
    steps = [painting, painting.add(one), painting.add(one).add(two)]
    steps += [steps[-1].without(0), steps[-1].without(0).cleared()]
    now = steps[-1]
    for expected in reversed(steps[:-1]):
        now = now.undo()
        assert now.strokes == expected.strokes
    assert now.undo() is now
    for expected in steps[1:]:
        now = now.redo()
        assert now.strokes == expected.strokes
    assert now.redo() is now
    assert now.undo().add(one).redo().strokes == (two, one)


def test_a_document_comes_back_as_it_was(tiny, tmp_path, answer):
    generator, painting = tiny
    painting = replace(painting, truncation=0.7).add(Stroke(disc(4, 4, 2, 16), "tree", strength=0.3, count=4))
    painting = painting.add(Stroke(disc(9, 9, 2, 16), units=(4, 2), action="remove"))
    painting.save(tmp_path / "strokes.json")
    said = answer("inspect", tmp_path / "strokes.json")
    assert (said["kind"], said["layer"], said["strokes"]) == ("painting", painting.layer, 2)
    loaded = Painting.load(tmp_path / "strokes.json")
    assert loaded == replace(painting, past=())
    assert loaded.to_json() == painting.to_json() == Painting.from_json(painting.to_json()).to_json()
    loaded.check(generator)
    prefix = prefix_of(generator, replace(loaded, strokes=()))
    assert torch.equal(prefix.images(), prefix_of(generator, loaded).images())
    assert generator.truncation == 1


def test_a_painting_of_another_model_layer_or_size_is_refused(tiny, towers, dissection):
    generator, painting = tiny
    with pytest.raises(ValueError, match="is of model"):
        painting.check(towers)
    with pytest.raises(LookupError, match="did you mean"):
        replace(painting, layer="b8.conv9").check(generator)
    with pytest.raises(ValueError, match="16 x 16 pixels"):
        painting.add(Stroke(disc(4, 4, 3, 24), units=(1,))).check(generator)
    with pytest.raises(ValueError, match=r"dissection is of layer b16\.conv1"):
        painted(prefix_of(generator, painting), painting, dissection)
    with pytest.raises(ValueError, match="tree is known from a dissection"):
        painted(prefix_of(generator, painting), painting.add(Stroke(disc(4, 4, 3, 16), "tree")))


GOOD = {"schema": SCHEMA, "model": "m", "layer": "l", "seed": 1, "truncation": 1.0}
MARKED = {"action": "add", "concept": "tree", "mask": {"size": [4, 4], "runs": [[0, 2]]}}


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "rewrite-painting/9"},
        {"model": 5},
        {"layer": "l" * 200},
        {"seed": -1},
        {"seed": True},
        {"seed": 10**400},
        {"truncation": "1"},
        {"truncation": 5},
        {"truncation": 10**400},
        {"label": -1},
        {"label": True},
        {"label": [1]},
        {"label": "dogs" * 100},
        {"strokes": {}},
        {"strokes": [MARKED] * (MOST_STROKES + 1)},
        {"strokes": [7]},
        {"more": 1},
        *(
            {"strokes": [{**MARKED, **stroke}]}
            for stroke in (
                {"action": "burn"},
                {"concept": ""},
                {"concept": ["tree"]},
                {"concept": "t" * 200},
                {"units": [1]},
                {"concept": "", "units": [1, 1]},
                {"concept": "", "units": [-1]},
                {"concept": "", "units": [1.5]},
                {"concept": "", "units": "12"},
                {"concept": "", "units": list(range(5000))},
                {"count": 0},
                {"alone": 1},
                {"count": 10**9},
                {"strength": 0},
                {"strength": 2},
                {"strength": None},
                {"mask": None},
                {"mask": {"size": [4], "runs": [[0, 2]]}},
                {"mask": {"size": [10**9, 10**9], "runs": [[0, 2]]}},
                {"mask": {"size": [4, 4], "runs": []}},
                {"mask": {"size": [4, 4], "runs": [[0, 99]]}},
                {"mask": {"size": [4, 4], "runs": [[0, 2], [1, 2]]}},
                {"mask": {"size": [4, 4], "runs": [[0]]}},
                {"mask": {"size": [4, 4], "runs": [["0", 2]]}},
                {"mask": {"size": [4, 4], "runs": [[0, 1]] * 2**16}},
                {"url": "http://example.org"},
            )
        ),
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_hostile_document_is_refused_in_a_sentence(tmp_path, changes):
    path = tmp_path / "strokes.json"
    path.write_text(json.dumps({**GOOD, "strokes": [MARKED]}))
    assert len(Painting.load(path).strokes) == 1
    path.write_text(json.dumps({**GOOD, "strokes": [MARKED], **changes}))
    with pytest.raises(ValueError, match=r"strokes\.json") as caught:
        Painting.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["", "null", "[" * 100_000, "7", "{", '{"seed": NaN}'])
def test_a_text_that_is_no_document_is_refused(text):
    with pytest.raises(ValueError, match="this is not a painting"):
        Painting.from_json(text)


def test_the_built_in_dissection_is_small_and_of_the_built_in_generator(towers):
    assert BUILT_IN["towers"].stat().st_size <= 300_000
    for found in load_dissections("towers").values():
        assert found.identity["model"] == towers.fingerprint


def test_paint_writes_before_and_after(towers, tmp_path, answer, refusal):
    painting = Painting(towers.fingerprint, LAYER, 3).add(Stroke(disc(42, 14, 9), "tree"))
    painting.save(tmp_path / "strokes.json")
    said = answer("paint", tmp_path / "strokes.json", "--out", tmp_path / "picture.png")
    assert said["strokes"] == 1
    assert said["concepts"] == ["tree"]
    picture = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB"))
    assert min(picture.shape[:2]) > 64
    replace(painting, layer="b64.conv0").save(tmp_path / "other.json")
    out = tmp_path / "no.png"
    assert "no dissection of layer b64.conv0" in refusal("paint", tmp_path / "other.json", "--out", out)
    assert "there is no painting" in refusal("paint", tmp_path / "missing.json", "--out", out)
    assert not out.exists()


def test_ablate_writes_a_patch_by_number_or_by_concept(towers, tmp_path, answer, refusal):
    out = tmp_path / "off.safetensors"
    said = answer("ablate", "--layer", LAYER, "--units", "17,3", "--seeds", "0-1", "--out", out)
    assert said["units"] == [3, 17]
    assert said["largest"] < 1e-4 < said["moved"]
    said = answer("ablate", "--layer", LAYER, "--units", "tree", "--count", "4", "--seeds", "0-1", "--out", out)
    assert said["units"] == sorted(best_units(load_dissections("towers")[LAYER], "tree", 4))
    assert said["name"] == "tree"
    told = answer("inspect", out)
    assert told["bias"] == "changed"
    wrong = tmp_path / "wrong.safetensors"
    assert "units 0 to 95" in refusal("ablate", "--layer", LAYER, "--units", "96", "--out", wrong)
    assert "did you mean tree" in refusal("ablate", "--layer", LAYER, "--units", "trea", "--out", wrong)
    assert not wrong.exists()
