"""Broden's folder is read as it is laid out, and what is wrong with one is a sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dissect.sources.folders import Broden
from rewrite.reports.concepts import NONE
from tests.test_folders import STAIR, colours, resized, write_picture

HEADER = "image,split,ih,iw,sh,sw,color,object,part,material,scene,texture\n"
LABELS = """number,name,category,frequency,coverage,syns
1,red-c,color(4),4,1.0,
2,fabric,material(3);object(1),4,1.0,cloth;textile
3,dress,object(2),2,0.5,
4,street-s,scene(1),1,1.0,
300,striped,texture(1),1,1.0,
"""


def red_green(labels: np.ndarray) -> np.ndarray:
    """Label numbers as Broden writes them."""
    labels = labels.astype(np.int64)
    return np.stack([labels % 256, labels // 256, np.zeros_like(labels)], axis=-1).astype(np.uint8)


def write_index(folder: Path, *rows: str, header: str = HEADER) -> None:
    (folder / "index.csv").write_text(header + "".join(f"{row}\n" for row in rows))


@pytest.fixture
def broden(tmp_path) -> Path:
    """Two pictures: one with label maps in three columns, one with labels for the whole of it."""
    (tmp_path / "label.csv").write_text(LABELS)
    for i in range(3):
        write_picture(tmp_path / "images" / "a" / f"{i}.png", colours(seed=i))
    write_picture(tmp_path / "images" / "a" / "0_color.png", red_green(np.where(STAIR % 2, 1, 0)))
    write_picture(tmp_path / "images" / "a" / "0_object.png", red_green(np.where(STAIR < 4, 2, 3)))
    write_picture(tmp_path / "images" / "a" / "0_material.png", red_green(np.where(STAIR < 6, 2, 0)))
    write_index(
        tmp_path,
        "a/0.png,train,4,8,4,8,a/0_color.png,a/0_object.png,,a/0_material.png,,",
        "a/1.png,val,4,8,4,8,,,,,,",
        "a/2.png,val,4,8,4,8,,,,,4,300;0;1",
    )
    return tmp_path


def test_brodens_labels_have_their_first_category(broden):
    concepts = Broden(broden).concepts
    assert concepts.names == ("red-c", "fabric", "dress", "street-s", "striped")
    assert concepts.categories == ("color", "material", "object", "scene", "texture")


def test_brodens_maps_are_layers_with_red_and_green_as_one_number(broden):
    write_picture(broden / "images" / "a" / "0_color.png", red_green(np.where(STAIR % 2, 300, 0)))
    labels = Broden(broden, size=8).labels([0])[0]
    double = STAIR.repeat(2, axis=0)
    assert labels.shape == (3, 8, 8)
    assert np.array_equal(labels[0], np.where(double % 2, 4, NONE))
    assert np.array_equal(labels[1], np.where(double < 4, 1, 2))


def test_a_label_that_two_layers_give_one_pixel_is_there_once(broden):
    labels = Broden(broden, size=8).labels([0])[0]
    double = STAIR.repeat(2, axis=0)
    # Fabric is an object where the number is below 4, and a material where it is below 6.
    assert np.array_equal(labels[2], np.where((double >= 4) & (double < 6), 1, NONE))
    assert int((labels == 1).sum()) == int((double < 6).sum())


def test_a_number_in_brodens_index_labels_the_whole_picture(broden):
    labels = Broden(broden, size=4).labels([1])[0]
    assert [layer.unique().tolist() for layer in labels] == [[3], [4], [0]]


def test_pictures_of_broden_without_labels_are_left_out(broden):
    pictures = Broden(broden, size=8)
    assert len(pictures.numbers) == 2
    assert torch.equal(pictures.images([1]), resized(broden / "images" / "a" / "2.png", 8))


def test_a_path_that_leaves_brodens_folder_is_refused(broden, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    write_picture(outside, colours())
    (broden / "images" / "link.png").symlink_to(outside)
    for name in (str(outside), "../../outside0/secret.png", "link.png", ".."):
        write_index(broden, f"{name},train,4,8,4,8,,,,,4,")
        with pytest.raises(ValueError, match="a path in a table stays in its folder"):
            Broden(broden)
        write_index(broden, f"a/0.png,train,4,8,4,8,{name},,,,,")
        with pytest.raises(ValueError, match="a path in a table stays in its folder"):
            Broden(broden)


@pytest.mark.parametrize("name", ["index.csv", "label.csv", "images/a/0.png", "images/a/0_object.png"])
def test_a_file_that_broden_lacks_is_named_at_once(name, broden):
    (broden / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no .*{Path(name).name}"):
        Broden(broden)


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("picture,object\n", "a/0.png,3", "index.csv needs a column image, it has picture, object"),
        ("image,split,ih,iw,sh,sw\n", "a/0.png,train,4,8,4,8", "needs a column for each category of labels"),
        ("image,object\n", "a/0.png", "row 1 of .* needs 2 cells, as many as its header has"),
        ("image,object\n", "a/0.png,3,4", "row 1 of .* needs 2 cells, as many as its header has"),
        ("image,object\n", "a/0.png,", "holds no picture with labels"),
        ("image,object\n", "a/0.png,0;0", "holds no picture with labels"),
        ("image,object\n", "a/0.png,5", r"0\.png has the label 5, which has no name"),
        ("image,object\n", "a/0.png,70000", r"0\.png has the label 70000, which has no name"),
        ("", "", "needs a column image, it has none"),
        ("image,object\n", "\xff", "row 1 of"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(header, row, said, broden):
    write_index(broden, row, header=header)
    with pytest.raises(ValueError, match=said) as caught:
        Broden(broden)
    assert "\n" not in str(caught.value)


def test_a_binary_index_is_refused(broden):
    (broden / "index.csv").write_bytes(b"\xff\xfe\0\1")
    with pytest.raises(ValueError, match=r"index\.csv is not a text in UTF-8"):
        Broden(broden)


def test_a_grey_label_map_of_broden_is_refused(broden):
    write_picture(broden / "images" / "a" / "0_object.png", STAIR)
    with pytest.raises(ValueError, match=r"numbers in red and green, .*0_object\.png has the channels L"):
        Broden(broden).labels([0])
