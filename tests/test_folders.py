"""Folders of labelled pictures are read as they are laid out, and what is wrong with one is a sentence."""

from pathlib import Path
from struct import pack
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dissect.sources import rasters
from dissect.sources.folders import Annotations
from dissect.sources.images import ImageFolder
from dissect.units.counting import dissect
from dissect.units.probe import PictureProbe
from rewrite.reports.concepts import NONE

STAIR = np.add.outer(np.arange(4), np.arange(8)).astype(np.uint8)


def write_picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def colours(height: int = 4, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def annotated(tmp_path) -> Path:
    """Three pictures in two folders, one of them without a label map."""
    (tmp_path / "names.txt").write_text("sky\ntree, trees\n\nroad\n")
    for name in ("train/a.jpg", "train/b.png", "val/c.d.JPEG"):
        write_picture(tmp_path / "images" / name, colours(seed=len(name)))
    write_picture(tmp_path / "annotations" / "train" / "a.png", np.where(STAIR < 4, 1, 0).astype(np.uint8))
    write_picture(tmp_path / "annotations" / "val" / "c.d.png", np.where(STAIR < 4, 2, 4).astype(np.uint8))
    return tmp_path


def resized(path: Path, size: int) -> torch.Tensor:
    with Image.open(path) as picture:
        array = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(array.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def test_annotations_belong_to_pictures_of_the_same_name(annotated):
    pictures = Annotations(annotated, size=8)
    double = STAIR.repeat(2, axis=0)
    assert pictures.concepts.names == ("sky", "tree", "road")
    assert list(pictures.numbers) == [0, 1]
    labels = pictures.labels([0, 1])
    assert labels.shape == (2, 1, 8, 8)
    assert np.array_equal(labels[0, 0], np.where(double < 4, 0, NONE))
    assert np.array_equal(labels[1, 0], np.where(double < 4, 1, 2))
    assert torch.equal(pictures.images([1]), resized(annotated / "images" / "val" / "c.d.JPEG", 8))


@pytest.mark.parametrize("size", [1, 3, 5, 8, 11])
def test_labels_lie_where_the_picture_shows_them(size, annotated):
    step = np.zeros((4, 8), dtype=np.uint8)
    step[:, 3:] = 1
    write_picture(annotated / "images" / "train" / "a.png", np.repeat(step[:, :, None] * 255, 3, axis=2))
    (annotated / "images" / "train" / "a.jpg").unlink()
    write_picture(annotated / "annotations" / "train" / "a.png", step)
    pictures = Annotations(annotated, size=size)
    centres = (np.arange(size) + 0.5) * 8 / size
    assert np.array_equal(pictures.labels([0])[0, 0, 0] == 0, centres >= 3)
    # Between the two the bicubic kernel mixes; away from the edge both agree.
    clear = np.abs(centres - 3) > 2 * max(1, 8 / size)
    assert np.array_equal(pictures.images([0])[0, 0, 0][clear] > 0, (centres >= 3)[clear])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_any_eight_bit_mode_are_read(mode, annotated):
    ending = "jpg" if mode == "CMYK" else "png"
    (annotated / "images" / "train" / "a.jpg").unlink()
    grey = Image.fromarray(np.where(STAIR < 4, 0, 255).astype(np.uint8))
    grey.convert("RGB" if mode == "CMYK" else "L").convert(mode).save(annotated / "images" / "train" / f"a.{ending}")
    image = Annotations(annotated, size=8).images([0])[0]
    assert (image[:, 0, 0] < -0.8).all()
    assert (image[:, -1, -1] > 0.8).all()


def test_a_palette_with_transparency_keeps_its_colours(annotated):
    (annotated / "images" / "train" / "a.jpg").unlink()
    palette = Image.fromarray(np.full((4, 8), 200, dtype=np.uint8)).convert("P")
    palette.save(annotated / "images" / "train" / "a.png", transparency=b"\0" * 256)
    assert Annotations(annotated, size=2).images([0]).mean() == pytest.approx(200 / 127.5 - 1)


def test_annotations_may_be_palettes_and_have_two_bytes(annotated):
    path = annotated / "annotations" / "train" / "a.png"
    with Image.open(path) as plain:
        palette = plain.convert("L")
    expected = Annotations(annotated, size=8).labels([0])
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(path)
    assert torch.equal(Annotations(annotated, size=8).labels([0]), expected)
    Image.fromarray(np.where(STAIR < 4, 1, 0).astype(np.uint16)).save(path)
    assert torch.equal(Annotations(annotated, size=8).labels([0]), expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no label"),
        ("\n\n", "names no label"),
        ("Idx,Name\n1,a\n1,b\n", "different numbers from 0 to 65535, .* gives 'b' '1'"),
        ("Idx,Name\n-1,a\n", "gives 'a' '-1'"),
        ("Idx,Name\n99999,a\n", "gives 'a' '99999'"),
        ("Idx,Name\n1\n", "row 1 of .* needs 2 cells, as many as its header has"),
    ],
)
def test_names_that_cannot_be_told_are_refused(text, said, annotated):
    (annotated / "names.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        Annotations(annotated)


def test_the_identity_tells_folders_apart_and_names_none(annotated, tmp_path_factory):
    first = Annotations(annotated, size=8).identity
    copy = tmp_path_factory.mktemp("copy") / "other"
    annotated.rename(copy)
    assert Annotations(copy, size=8).identity == first
    assert Annotations(copy, size=9).identity != first
    (copy / "names.txt").write_text("sky\nbush\n\nroad\n")
    assert Annotations(copy, size=8).identity != first


def test_an_annotation_that_links_out_of_its_folder_is_refused(annotated, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    write_picture(outside, STAIR)
    (annotated / "annotations" / "train" / "b.png").symlink_to(outside)
    with pytest.raises(ValueError, match="stays in its folder"):
        Annotations(annotated)


@pytest.mark.parametrize("gone", ["images", "annotations"])
def test_a_folder_that_annotations_lack_is_named(gone, annotated):
    (annotated / gone).rename(annotated / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"there is no folder .*{gone}"):
        Annotations(annotated)


def test_annotations_without_names_say_which_file_they_want(annotated):
    (annotated / "names.txt").rename(annotated / "other.txt")
    with pytest.raises(
        FileNotFoundError, match=r"needs a file with the names of its labels: one of objectInfo150\.txt"
    ):
        Annotations(annotated)
    assert Annotations(annotated, names=annotated / "other.txt").concepts.names == ("sky", "tree", "road")


def test_a_label_map_without_a_picture_is_named(annotated):
    (annotated / "images" / "train" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no picture in .*images for the label map .*a\.png"):
        Annotations(annotated)


def test_two_pictures_of_one_label_map_are_refused(annotated):
    write_picture(annotated / "images" / "train" / "a.png", colours())
    with pytest.raises(ValueError, match=r"a label map belongs to one picture, got .*a\.jpg and .*a\.png"):
        Annotations(annotated)


def test_an_empty_folder_is_refused(annotated):
    for path in (annotated / "annotations").rglob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="holds no picture with labels"):
        Annotations(annotated)


def test_a_size_below_one_is_refused(annotated):
    with pytest.raises(ValueError, match="the side of pictures is 1 or more pixels, got 0"):
        Annotations(annotated, size=0)


@pytest.mark.parametrize("label", [3, 5, 254])
def test_a_label_without_a_name_is_refused(label, annotated):
    write_picture(annotated / "annotations" / "train" / "a.png", np.full((4, 8), label, dtype=np.uint8))
    with pytest.raises(ValueError, match=rf"a\.png has the label {label}, which has no name"):
        Annotations(annotated).labels([0])


def test_pixels_of_the_number_to_ignore_have_no_label(annotated):
    path = annotated / "annotations" / "train" / "a.png"
    write_picture(path, np.where(STAIR < 4, 1, 255).astype(np.uint8))
    labels = Annotations(annotated, size=8).labels([0])
    assert labels.unique().tolist() == [NONE, 0]
    with pytest.raises(ValueError, match="has the label 255, which has no name"):
        Annotations(annotated, size=8, ignore=None).labels([0])
    write_picture(path, np.where(STAIR < 4, 1, 7).astype(np.uint8))
    assert torch.equal(Annotations(annotated, size=8, ignore=7).labels([0]), labels)
    # A number with a name is a label, whatever it is.
    write_picture(path, np.where(STAIR < 4, 1, 0).astype(np.uint8))
    assert Annotations(annotated, size=8, ignore=1).labels([0]).max() == 0


def test_a_picture_is_turned_as_its_camera_says(annotated):
    upright = np.zeros((16, 8, 3), np.uint8)
    upright[:8] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    picture = annotated / "images" / "train" / "a.jpg"
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(picture, exif=exif)
    write_picture(annotated / "annotations" / "train" / "a.png", np.uint8([1, 2]).repeat(64).reshape(16, 8))
    pictures = Annotations(annotated, size=8)
    assert torch.equal(pictures.labels([0])[0, 0] == 0, pictures.images([0])[0].mean(dim=0) > 0)
    found = ImageFolder(annotated / "images" / "train", (8, 4)).images([0])[0]
    assert found[:, :3].mean() > 0.9
    assert found[:, -3:].mean() < -0.9


@pytest.mark.parametrize("layout", ["Annotations", "ImageFolder"])
def test_what_a_system_leaves_beside_pictures_is_no_picture(annotated, layout):
    def count() -> int:
        if layout == "Annotations":
            return len(Annotations(annotated, size=8).numbers)
        return len(ImageFolder(annotated / "images", (8, 8)).numbers)

    before, content = count(), (annotated / "images" / "train" / "a.jpg").read_bytes()
    for folder in ("images", "annotations"):
        for name in ("train/._a.jpg", "__MACOSX/train/a.jpg", ".ipynb_checkpoints/a.png", "train/.thumbs/a.png"):
            path = annotated / folder / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(content)
    assert count() == before


def test_a_link_inside_the_folder_is_the_picture_that_it_leads_to(annotated, tmp_path_factory):
    for folder, name in (("images", "b.jpg"), ("annotations", "b.png")):
        (annotated / folder / "train" / "b.png").unlink(missing_ok=True)
        original = annotated / f"original {name}"
        (annotated / folder / "train" / name.replace("b", "a")).rename(original)
        for link in ("a", "b"):
            (annotated / folder / "train" / name.replace("b", link)).symlink_to(original)
    pictures = Annotations(annotated, size=8)
    assert len(pictures.numbers) == 3
    assert torch.equal(pictures.images([0]), pictures.images([1]))
    with pytest.raises(ValueError, match="a link stays in its folder"):
        ImageFolder(annotated / "images", (8, 8))


def test_a_label_map_that_was_saved_as_jpeg_is_refused(annotated):
    with (annotated / "annotations" / "train" / "a.png").open("wb") as file:
        Image.fromarray(STAIR).save(file, "JPEG")
    with pytest.raises(ValueError, match=r"a label map is a PNG file, .* is a JPEG, which changes the num"):
        Annotations(annotated, size=8).labels([0])


def test_a_label_map_of_another_shape_is_refused(annotated):
    write_picture(annotated / "annotations" / "train" / "a.png", np.ones((8, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"a\.png has 8 x 4 pixels, a\.jpg has 4 x 8"):
        Annotations(annotated).labels([0])


def test_a_label_map_of_half_the_size_fits(annotated):
    write_picture(annotated / "annotations" / "train" / "a.png", np.ones((2, 4), dtype=np.uint8))
    assert Annotations(annotated, size=8).labels([0]).unique().tolist() == [0]


def test_a_label_map_in_colours_is_refused(annotated):
    write_picture(annotated / "annotations" / "train" / "a.png", colours())
    with pytest.raises(ValueError, match=r"one number a pixel, .*a\.png has the channels R, G, B"):
        Annotations(annotated).labels([0])


def test_a_picture_of_sixteen_bits_is_refused(annotated):
    (annotated / "images" / "train" / "a.jpg").unlink()
    write_picture(annotated / "images" / "train" / "a.png", STAIR.astype(np.uint16))
    with pytest.raises(ValueError, match=r"eight bits a channel, .*a\.png is of mode I;16"):
        Annotations(annotated).images([0])


def test_what_is_no_picture_is_refused(annotated):
    path = annotated / "images" / "train" / "a.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.jpg is damaged"):
        Annotations(annotated).images([0])
    for content in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a" + bytes(30)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a picture is a JPEG or PNG file, .*a\.jpg is neither"):
            Annotations(annotated).images([0])


def grey_png(width: int, height: int) -> bytes:
    """A PNG file that says that it has so many pixels, and holds hardly any."""
    parts = [(b"IHDR", pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", compress(bytes(9))), (b"IEND", b"")]
    chunks = [pack(">I", len(data)) + kind + data + pack(">I", crc32(kind + data)) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Pillow says nothing of the first, warns of the second and refuses the third.
@pytest.mark.parametrize("side", [9_000, 10_000, 20_000])
def test_a_picture_that_unpacks_to_too_much_is_refused_unread(side, annotated, monkeypatch):
    (annotated / "annotations" / "train" / "a.png").write_bytes(grey_png(side, side))
    with pytest.raises(ValueError, match=r"a label map has at most 67108864 pixels, .*a\.png has more"):
        Annotations(annotated).labels([0])
    monkeypatch.setattr(rasters, "MOST_PIXELS", 31)
    with pytest.raises(ValueError, match=r"a picture has at most 31 pixels, .*a\.jpg has more"):
        Annotations(annotated).images([0])


class RedGreenBlue(nn.Module):
    """A convolution whose second unit shows where a picture is red; the others show noise."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        torch.manual_seed(3)
        nn.init.normal_(self.conv.weight, std=0.2)
        with torch.no_grad():
            self.conv.weight[1] = 0
            self.conv.weight[1, :, 1, 1] = torch.tensor([1.0, -1.0, -1.0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).mean(dim=(1, 2, 3))


def test_a_unit_that_shows_a_concept_of_a_folder_is_found(tmp_path):
    (tmp_path / "names.txt").write_text("ball\nbox\n")
    draws = np.random.default_rng(4)
    for i in range(60):
        labels = np.zeros((24, 24), dtype=np.uint8)
        for label in (1, 2):
            top, left = draws.integers(0, 20, 2)
            labels[top : top + 4, left : left + 4] = label
        picture = draws.integers(60, 120, (24, 24, 3))
        picture[labels == 1] = (250, 20, 20)
        picture[labels == 2] = (20, 20, 250)
        write_picture(tmp_path / "images" / f"{i:02}.png", picture.astype(np.uint8))
        write_picture(tmp_path / "annotations" / f"{i:02}.png", labels)
    probe = PictureProbe(RedGreenBlue(), ["conv"], Annotations(tmp_path, size=24))
    found = dissect(probe, 40, tail=16 / 24**2, level_samples=10)["conv"]
    iou = found.scores.iou
    assert iou[1].argmax() == found.concepts.number("ball")
    assert iou[1, found.concepts.number("ball")] > 0.7
    assert iou[1, found.concepts.number("box")] < 0.1
    assert iou[[0, 2, 3], found.concepts.number("ball")].max() < 0.5
