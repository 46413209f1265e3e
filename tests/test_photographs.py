"""Photographs: a known latent is found again, each stage comes nearer, files are checked, a stopped search goes on."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dissect import Effort, Photograph, find_photograph, read_picture
from dissect.photographs.search import Search, layers_of
from dissect.photographs.unfinished import go_on, kept
from rewrite import read_latents
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.networks import patch_of, random_stylegan2

QUICK = Effort(steps=20, starts=8)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """A picture that a random network does not draw."""
    ramp = torch.linspace(-1, 1, 16)
    return torch.stack([ramp.expand(16, 16), ramp[:, None].expand(16, 16), torch.zeros(16, 16)])


@pytest.fixture(scope="module")
def photograph(picture) -> Photograph:
    """That picture as a random network draws it; no test changes it."""
    return find_photograph(StyleGAN2Generator(random_stylegan2()), picture, effort=QUICK)


def test_the_image_of_a_known_latent_is_found_again(tiny_generator):
    tiny_generator.noise = "none"
    image = tiny_generator.sample([3])[0]
    found = find_photograph(tiny_generator, image, effort=Effort(steps=80, starts=8))
    begun, *_, ended = found.near
    assert begun.colours > 0.03
    assert ended.colours < 0.01  # of the range of colours
    torch.testing.assert_close((found.drawn(tiny_generator)[0] - image).abs().mean() / 2, torch.tensor(ended.colours))


def test_each_stage_comes_nearer_to_a_picture_that_the_generator_cannot_draw(tiny_generator, photograph, picture):
    assert [each.stage for each in photograph.near] == ["start", "w", "w+", "weights"]
    apart = [each.colours for each in photograph.near]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0.9 * apart[-2] < 0.9 * apart[0]
    before = tiny_generator.sample(photograph.latent)
    after = photograph.drawn(tiny_generator)
    assert (after - picture).abs().mean() < 0.9 * (before - picture).abs().mean()


def test_the_generator_stays_as_it_was_and_patches_lie_over_the_change(tiny_generator, photograph):
    before = tiny_generator.fingerprint
    plain = photograph.drawn(tiny_generator)
    patch = patch_of(tiny_generator, photograph.changes[-1].layer)  # of a layer that the photograph changes too
    assert (photograph.drawn(tiny_generator, [patch]) - plain).abs().max() > 0.01
    assert torch.equal(photograph.drawn(tiny_generator, [patch], [0.0]), plain)
    assert tiny_generator.fingerprint == before == photograph.model


def test_a_network_without_w_is_searched_in_z(plain_generator):
    found = find_photograph(plain_generator, torch.full((3, 12, 12), 0.1).double(), effort=QUICK)
    assert [each.stage for each in found.near] == ["start", "z"]  # no layer lies before that of rules
    assert found.latent.kind == "z"
    assert found.near[-1].colours < found.near[0].colours


def test_a_saved_photograph_is_the_same_and_its_latent_is_one_of_any_tool(tiny_generator, photograph, tmp_path):
    path = tmp_path / "photograph.safetensors"
    photograph.save(path)
    again = Photograph.load(path)
    assert torch.equal(again.drawn(tiny_generator), photograph.drawn(tiny_generator))
    assert (again.picture - photograph.picture).abs().max() < 0.004
    assert (again.near, again.model) == (photograph.near, photograph.model)
    latents = read_latents(path, tiny_generator)
    assert torch.equal(tiny_generator.sample(latents), tiny_generator.sample(photograph.latent))


@pytest.mark.parametrize("name", ["picture", "w", "left0"])
def test_a_damaged_photograph_is_refused(photograph, tmp_path, name):
    path = tmp_path / "photograph.safetensors"
    photograph.save(path)
    tensors = load_file(path)
    with safe_open(path, "pt") as opened:
        header = opened.metadata()
    save_file({**tensors, name: tensors[name][None].clone()}, path, header)
    with pytest.raises(ValueError, match="damaged photograph"):
        Photograph.load(path)
    save_file({key: each for key, each in tensors.items() if key != name}, path, header)
    with pytest.raises(ValueError, match="damaged photograph"):
        Photograph.load(path)


def test_another_generator_is_refused(photograph, plain_generator):
    with pytest.raises(ValueError, match="was found with model"):
        photograph.drawn(plain_generator)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_search_that_was_ended_goes_on_to_the_same_end(tiny_generator, picture, photograph, tmp_path, share):
    path = tmp_path / "unfinished.safetensors"
    search = Search(tiny_generator, picture, effort=QUICK)

    def end(stage: str, done: float) -> None:
        if done > share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"), kept(search, path):
        search.run(on_step=end)
    other = Search(tiny_generator, picture, effort=QUICK)
    go_on(other, path)
    with kept(other, path):
        found = other.run()
    assert not path.exists()
    assert found.near == photograph.near
    assert torch.equal(found.drawn(tiny_generator), photograph.drawn(tiny_generator))


def test_what_is_kept_of_another_search_is_refused(tiny_generator, picture, tmp_path):
    path, search = tmp_path / "unfinished.safetensors", Search(tiny_generator, picture, effort=QUICK)
    with pytest.raises(KeyboardInterrupt), kept(search, path):
        search.run(on_step=lambda stage, done: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(ValueError, match="is of another search"):
        go_on(Search(tiny_generator, -picture, effort=QUICK), path)


def test_early_layers_change_and_layers_can_be_named(tiny_generator, picture):
    assert layers_of(tiny_generator, None) == ["b4.conv1"]
    assert find_photograph(tiny_generator, picture, effort=Effort(5, 4, ())).changes == ()
    named = find_photograph(tiny_generator, picture, effort=Effort(5, 4, ["b16.conv1"]))
    assert [change.layer for change in named.changes] == ["b16.conv1"]
    with pytest.raises(LookupError, match="no layer 'b99'"):
        find_photograph(tiny_generator, picture, effort=Effort(5, 4, ["b99"]))


def test_a_picture_of_another_size_is_refused(tiny_generator):
    with pytest.raises(ValueError, match=r"draws images of \(16, 16\), got \(8, 8\)"):
        find_photograph(tiny_generator, torch.zeros(3, 8, 8))


def written(path: Path, picture: Image.Image, **how) -> Path:
    picture.save(path, **how)
    return path


def test_large_turned_and_grey_pictures_are_read(tmp_path):
    upright = Image.new("RGB", (300, 400), "blue")
    upright.paste("red", (0, 0, 300, 200))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6
    found = read_picture(written(tmp_path / "turned.jpg", turned, exif=exif), (16, 16))
    assert (found[0, :7] > 0.9).all()
    assert (found[2, 9:] > 0.9).all()
    grey = read_picture(written(tmp_path / "grey.png", Image.new("L", (9000, 30), 255)), (16, 16))
    assert torch.equal(grey, torch.ones(3, 16, 16))
    with pytest.raises(ValueError, match="at most 67108864 pixels"):
        read_picture(written(tmp_path / "vast.png", Image.new("L", (9000, 9000))), (16, 16))
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="a picture is a JPEG or PNG file"):
        read_picture(tmp_path / "none.jpg", (16, 16))
