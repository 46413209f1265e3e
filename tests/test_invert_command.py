"""`rewrite invert`: what it writes stands wherever latents do, it goes on after Ctrl-C, bad files are refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from apps.cli import main
from dissect import Painting, Photograph
from dissect.photographs.descent import Descent
from rewrite import Patch, load_generator
from rewrite.reports.pictures import to_pil

HOW = ("--steps", 12, "--starts", 4)
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    ramp = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (30, 1))
    Image.fromarray(np.stack([ramp, ramp, 255 - ramp], axis=2)).save(path)
    return path


def inverting(files, picture, out) -> list:
    return ["invert", files["model"], picture, *HOW, "--out", out]


def test_it_tells_how_near_each_stage_came_and_draws_them(files, picture, answer, tmp_path):
    out, strip = tmp_path / "found.safetensors", tmp_path / "strip.png"
    result = answer(*inverting(files, picture, out), "--strip", strip)
    assert [each["stage"] for each in result["near"]] == ["start", "w", "w+", "weights"]
    found = Photograph.load(out)
    assert [change.layer for change in found.changes] == result["layers"] == ["b4.conv1"]
    assert result["near"][-1]["colours"] == found.near[-1].colours
    with Image.open(strip) as drawn:
        assert drawn.width > 4 * drawn.height  # five tiles in a row
    assert answer("inspect", out)["kind"] == "photograph"


def test_sample_and_paint_draw_the_photograph_and_patches_over_it(files, picture, answer, tmp_path):
    out = tmp_path / "found.safetensors"
    answer(*inverting(files, picture, out))
    generator, found, patch = load_generator(files["model"]), Photograph.load(out), Patch.load(files["patch"])
    answer("sample", files["model"], "--latents", out, "--each", tmp_path / "plain")
    answer("sample", files["model"], "--latents", out, "--patch", files["patch"], "--each", tmp_path / "edited")
    for folder, patches in (("plain", []), ("edited", [patch])):
        with Image.open(tmp_path / folder / "seed0000.png") as drawn:
            assert np.array_equal(np.asarray(drawn), np.asarray(to_pil(found.drawn(generator, patches))[0]))
    Painting(generator.fingerprint, "b16.conv0", 3).save(tmp_path / "strokes.json")
    painting = ["paint", tmp_path / "strokes.json", "--model", files["model"], "--latents", out]
    answer(*painting, "--out", tmp_path / "painted.png")
    bare = Photograph(found.picture, found.latent, (), found.near, found.model)
    bare.save(out)
    answer(*painting, "--out", tmp_path / "bare.png")
    assert (tmp_path / "painted.png").read_bytes() != (tmp_path / "bare.png").read_bytes()


def test_after_ctrl_c_the_same_command_goes_on_to_the_same_file(files, picture, answer, tmp_path, monkeypatch, capsys):
    answer(*inverting(files, picture, tmp_path / "whole.safetensors"))
    out, kept = tmp_path / "found.safetensors", tmp_path / "found.unfinished.safetensors"
    go, taken = Descent.go, []

    def end(descent: Descent) -> None:
        taken.append(descent)
        if len(taken) == 20:
            raise KeyboardInterrupt
        go(descent)

    with monkeypatch.context() as patched:
        patched.setattr(Descent, "go", end)
        assert main([*map(str, inverting(files, picture, out))]) == 130
    assert f"what was found is in {kept}: the same command goes on from there" in capsys.readouterr().err
    assert answer("inspect", kept)["finished stages"] == ["start", "w"]
    answer(*inverting(files, picture, out))
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not kept.exists()


def test_what_cannot_be_used_is_refused_in_one_sentence(files, picture, refusal, tmp_path):
    out = tmp_path / "found.safetensors"
    (tmp_path / "text.jpg").write_text("no picture")
    assert "is neither" in refusal("invert", files["model"], tmp_path / "text.jpg", "--out", out)
    assert "there is no picture" in refusal("invert", files["model"], tmp_path / "none.jpg", "--out", out)
    assert "no layer 'b99'" in refusal(*inverting(files, picture, out), "--layer", "b99")
    assert "one step and one start" in refusal("invert", files["model"], picture, "--steps", 0, "--out", out)
    assert "--features: name one" in refusal(*inverting(files, picture, out), "--weights", picture)
    assert "would overwrite" in refusal("invert", files["model"], picture, "--out", picture)
    kept = tmp_path / "found.unfinished.safetensors"
    kept.write_bytes(b"\x10\0\0\0\0\0\0\0" + b"?" * 16)
    assert str(kept) in refusal(*inverting(files, picture, out))


def test_a_photograph_of_another_model_is_refused(files, picture, answer, refusal, tmp_path):
    out = tmp_path / "found.safetensors"
    answer(*inverting(files, picture, out), "--layer", "none")
    model = load_generator(files["model"])
    with torch.no_grad():
        model.weight("b16.conv1").add_(0.1)
    assert Photograph.load(out).changes == ()
    with pytest.raises(ValueError, match="was found with model"):
        Photograph.load(out).check(model)
    said = refusal("sample", "towers", "--latents", out, "--out", tmp_path / "grid.png")
    assert "latents of shape" in said or "was found with model" in said
