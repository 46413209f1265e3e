"""A check replays edits and fails when they no longer do what their rules expect."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from apps.cli import main
from rewrite import Latent, Mask, Memory, Patch, Region, load_generator, report_on, solve
from rewrite.reports.places import protected_moved
from tests.networks import marked_rule

pytestmark = pytest.mark.usefixtures("cache")

SEEDS = ("--seeds", "5-8")


@pytest.fixture
def rule(files):
    return marked_rule(files["model"])


@pytest.fixture
def check(files, capsys):
    """Check edits on the small model, and give the exit status and what was said to programs."""

    def run(*edits):
        capsys.readouterr()
        given = [*edits, "--model", files["model"], "--samples", 30, *SEEDS, "--json"]
        status = main(["check", *map(str, given)])
        return status, json.loads(capsys.readouterr().out)

    return run


def region_of(seed: int, side: int = 16) -> Region:
    mask = np.zeros((side, side), dtype=bool)
    mask[10:14, 10:14] = True
    return Region(Latent(seed), Mask.from_array(mask))


def test_a_rule_is_solved_again_and_gives_what_its_patch_gives(files, rule, tmp_path, check):
    expecting = replace(rule, expect={"efficacy": 0.1, "outside": 1.0})
    expecting.save(tmp_path / "rule.json")
    solve(load_generator(files["model"]), Memory.load(files["memory"]), expecting).save(tmp_path / "p.safetensors")
    status, found = check(tmp_path / "rule.json", tmp_path / "p.safetensors")
    assert (status, found["failed"]) == (0, [])
    by_rule, by_patch = found["checks"][:2], found["checks"][2:]
    assert [each["found"] for each in by_rule] == [each["found"] for each in by_patch]
    assert [each["measure"] for each in by_rule] == ["efficacy", "outside"]
    assert found["checks"][0]["found"] > 0.1


def test_the_status_is_1_if_one_expectation_of_one_edit_fails(rule, tmp_path, check, files, capsys):
    for name, most in (("kept", 1.0), ("broken", 0.0)):
        replace(rule, expect={"efficacy": 0.1, "strict": most}).save(tmp_path / f"{name}.json")
    status, found = check(tmp_path / "kept.json", tmp_path / "broken.json")
    assert status == 1
    assert [each["met"] for each in found["checks"]] == [True, True, True, False]
    assert "broken.json: rule 'r' expects strict of at most 0" in found["failed"][0]
    arguments = ("check", tmp_path / "broken.json", "--model", files["model"], "--samples", 30, *SEEDS)
    assert main([*map(str, arguments)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "1 of 2 failed"
    assert told[0].split() == ["edit", "rule", "measure", "expected", "found"]
    assert " strict  " in told[2]
    assert told[2].endswith("failed")


def test_protected_regions_are_held_against_what_is_expected_of_them(rule, tmp_path, check):
    protecting = replace(rule, protect=(region_of(3), region_of(4)))
    for name, most in (("loose", 1.0), ("tight", 0.0)):
        replace(protecting, expect={"protected": most}).save(tmp_path / f"{name}.json")
    status, found = check(tmp_path / "loose.json", tmp_path / "tight.json")
    loose, tight = found["checks"]
    assert loose["met"]
    assert loose["found"] == tight["found"]
    assert tight["met"] == (tight["found"] == 0)
    assert status == (0 if tight["met"] else 1)


def test_of_protected_regions_the_share_of_pixels_whose_colour_moved_is_told(tiny_generator, files):
    rule = replace(marked_rule(files["model"]), model=tiny_generator.fingerprint, protect=(region_of(3), region_of(4)))
    weight = tiny_generator.weight(rule.layer)

    class Edited:
        def __enter__(self):
            self.kept = weight.detach().clone()
            with torch.no_grad():
                weight.mul_(-3.0)

        def __exit__(self, *_):
            with torch.no_grad():
                weight.copy_(self.kept)

    before = tiny_generator.sample([3, 4])
    with Edited():
        after = tiny_generator.sample([3, 4])
    moved = ((after - before).abs().amax(dim=1) > 0.1)[:, 10:14, 10:14]
    assert 0 < moved.float().mean() <= 1
    assert protected_moved(tiny_generator, Edited, rule).value == pytest.approx(float(moved.float().mean()))


def test_a_report_without_protected_regions_says_nothing_of_them(files):
    found = report_on(load_generator(files["model"]), Patch.load(files["patch"]), seeds=[5])
    assert found.document()["places"][0]["protected"] is None


def test_a_check_that_would_check_nothing_is_refused(files, refusal):
    for name in ("rule", "patch"):
        said = refusal("check", files[name], "--model", files["model"])
        assert f"nothing says what {files[name]} is to do" in said


def test_protected_change_cannot_be_expected_where_nothing_is_protected(rule):
    with pytest.raises(ValueError, match="needs protected regions"):
        replace(rule, expect={"protected": 0.1})


def test_what_is_neither_a_rule_nor_a_patch_is_refused_before_anything_is_replayed(files, rule, tmp_path, refusal):
    replace(rule, expect={"efficacy": 0.1}).save(tmp_path / "rule.json")
    assert "memory" in refusal("check", tmp_path / "rule.json", files["memory"], "--model", files["model"])
    assert "there is no file" in refusal("check", "nowhere.json")
    assert "was written on" in refusal("check", tmp_path / "rule.json")
