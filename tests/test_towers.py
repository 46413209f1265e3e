"""The generator and the rules that come with the library."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rewrite
from rewrite import Rule, load_generator, measure, solve

PACKAGED = Path(rewrite.__file__).parent / "generators" / "towers.safetensors"
pytestmark = pytest.mark.skipif(not PACKAGED.exists(), reason="the built-in generator is still being trained")
RULES = sorted((Path(rewrite.__file__).parent / "rules").glob("*.json"))


@pytest.fixture(scope="module")
def towers():
    return load_generator("towers")


def test_the_generator_draws_images_of_64_pixels(towers):
    images = towers.sample(range(4))
    assert images.shape == (4, 3, 64, 64)
    assert images.std(dim=0).mean() > 0.05


def test_a_seed_is_the_same_image_alone_and_anywhere_in_a_batch_of_seven(towers):
    alone = towers.sample([5])[0]
    for place in range(7):
        seeds = [100 + i for i in range(7)]
        seeds[place] = 5
        torch.testing.assert_close(towers.sample(seeds, batch=7)[place], alone, rtol=0, atol=1e-6)


def test_the_weights_say_how_they_were_trained(towers):
    about = rewrite.storage.files.read_header(PACKAGED)[1]
    assert {"seed", "images", "seconds", "machine"} <= set(about["training"])


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_packaged_rule_was_written_on_this_generator(towers, path):
    rule = Rule.load(path)
    assert rule.model == towers.fingerprint
    assert rule.layer in towers.layers
    assert json.loads(rule.to_json()) == json.loads(path.read_text())


def test_the_first_rule_is_solved_to_the_same_patch_twice(towers, tmp_path):
    # Fewer images than the whole rule has, for a quick answer by the same way.
    rule = Rule.load(RULES[0])
    rule = replace(rule, copy=rule.copy[:4], context=rule.context[:6]).with_settings(finish=25)
    memory = measure(towers, rule.layer, 100)
    first, second = (solve(towers, memory, rule) for _ in range(2))
    first.save(tmp_path / "first.safetensors")
    second.save(tmp_path / "second.safetensors")
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
    # Nearly all of this rule is left to the finish, which is judged in the image.
    before, after = first.forecast["finish"]["missed"]
    assert after < 0.7 * before
