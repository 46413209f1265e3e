"""Sources of concepts keep one contract, and a user's word becomes one of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.sources import source_for
from dissect.scenes import CONCEPTS, scenes
from dissect.segmenter import Segmenter, load_segmenter, save_segmenter
from dissect.sources.contract import CallableSource, checked
from dissect.sources.huggingface import HuggingFaceSource
from dissect.sources.network import NetworkSource
from dissect.sources.towers import Scenes, SegmenterSource
from rewrite.reports.concepts import NONE, Concepts
from rewrite.storage.files import save_tensors
from tests.test_huggingface import network, saved

THREE = Concepts.of(("sky", "tree", "road"))


@given(st.lists(st.integers(NONE, 2), min_size=12, max_size=12), st.sampled_from(["uint8", "int16", "int64"]))
def test_label_maps_of_whole_numbers_keep_their_numbers(numbers, kind):
    array = np.array(numbers).reshape(2, 2, 3)
    array = array.clip(min=0) if kind == "uint8" else array
    for given_as in (array.astype(kind), torch.from_numpy(array.astype(kind))):
        labels = checked(given_as, 2, THREE)
        assert (labels.dtype, labels.shape) == (torch.int16, (2, 1, 2, 3))
        assert np.array_equal(labels[:, 0], array)


def test_layers_stay_layers():
    labels = torch.tensor([[[[0, 1]], [[2, NONE]]]])
    assert torch.equal(checked(labels, 1, THREE), labels.short())


@pytest.mark.parametrize(
    ("labels", "images"),
    [
        (torch.zeros(2, 4, 4), 2),
        (torch.zeros(2, 4, 4, dtype=torch.bool), 2),
        (torch.zeros(4, 4, dtype=torch.int64), 4),
        (torch.zeros(3, 4, 4, dtype=torch.int64), 2),
        (torch.zeros(2, 1, 1, 4, 4, dtype=torch.int64), 2),
    ],
)
def test_what_are_no_label_maps_is_refused(labels, images):
    with pytest.raises(ValueError, match=rf"label maps are whole numbers of shape \({images}, height, width\) or"):
        checked(labels, images, THREE)


@pytest.mark.parametrize(("number", "said"), [(-2, "between -1 and 2, got -2"), (3, "between -1 and 2, got 3")])
def test_a_number_that_stands_for_no_concept_is_refused(number, said):
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    labels[0, 1, 1] = number
    with pytest.raises(ValueError, match=said):
        checked(labels, 1, THREE)


def brightness(images, numbers):
    """Two where an image is bright, and its number elsewhere."""
    return np.where(images.mean(dim=1).numpy() > 0, 2, np.array(numbers)[:, None, None])


def test_a_function_is_a_source_that_sees_images_and_their_numbers():
    source = CallableSource(brightness, THREE)
    images = torch.full((2, 3, 1, 2), -1.0)
    images[:, :, 0, 1] = 1
    assert source.label(images, [1, 0])[:, 0, 0].tolist() == [[1, 2], [0, 2]]
    assert (source.concepts, source.identity) == (THREE, "brightness")
    assert CallableSource(brightness, THREE, "by brightness").identity == "by brightness"


def test_what_a_function_gives_is_checked():
    with pytest.raises(ValueError, match="labels lie between -1 and 2, got 7"):
        CallableSource(brightness, THREE).label(torch.full((1, 3, 2, 2), -1.0), [7])


def test_a_network_names_each_pixel_by_its_greatest_number():
    network = torch.nn.Conv2d(3, 3, 1)
    images = torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    source = NetworkSource(network, THREE, prepare=lambda images: images / 2 + 0.5)
    with torch.no_grad():
        wanted = network(images / 2 + 0.5).argmax(dim=1)
    assert torch.equal(source.label(images, range(3))[:, 0].long(), wanted)
    small = NetworkSource(network, THREE, (4, 6))
    assert small.label(images, range(3)).shape == (3, 1, 8, 12)
    assert torch.equal(small.logits(images).argmax(dim=1), small.label(images, range(3))[:, 0].long())
    given = images.clone().requires_grad_()
    assert torch.autograd.grad(small.logits(given)[:, 1].sum(), given)[0].abs().sum() > 0


def test_networks_with_other_weights_have_another_identity_and_other_channels_are_refused():
    one, other = (NetworkSource(torch.nn.Conv2d(3, 3, 1), THREE) for _ in range(2))
    assert one.identity != other.identity
    assert NetworkSource(one.network, THREE, prepare=torch.abs).identity != one.identity
    assert NetworkSource(one.network, THREE, (8, 8)).identity != one.identity
    with pytest.raises(ValueError, match=r"gives \(2, 3, rows, columns\) for 2 images and 3 concepts"):
        NetworkSource(torch.nn.Conv2d(3, 4, 1), THREE).label(torch.zeros(2, 3, 4, 4), range(2))


def test_the_segmenter_labels_scenes_as_they_were_drawn():
    pictures, source = Scenes(2_000_000, 6), SegmenterSource()
    drawn, seen = pictures.labels(pictures.numbers), source.label(pictures.images(pictures.numbers), pictures.numbers)
    assert drawn.shape == seen.shape == (6, 1, 64, 64)
    assert (drawn == seen).float().mean() > 0.98
    assert pictures.concepts == source.concepts


def test_segmenters_with_other_weights_have_another_identity():
    first, second = SegmenterSource(), SegmenterSource(load_segmenter())
    assert first.identity == second.identity
    with torch.no_grad():
        second.segmenter.head.bias += 1
    assert SegmenterSource(second.segmenter).identity != first.identity


def test_a_scene_has_the_number_of_its_seed_whatever_else_is_drawn():
    pictures = Scenes(100, 3)
    assert list(pictures.numbers) == [100, 101, 102]
    assert torch.equal(pictures.images([102]), pictures.images([100, 102])[1:])
    assert np.array_equal(pictures.labels([101])[0, 0], scenes([101])[1][0])


def test_concepts_of_towers_have_categories():
    concepts = Scenes.concepts
    assert concepts.names == CONCEPTS
    assert {concepts.categories[concepts.number(name)] for name in ("dome", "roof", "window")} == {"tower"}
    assert concepts.categories[concepts.number("sky")] == "landscape"


def test_towers_is_the_segmenter_of_the_library(tiny_generator):
    source = source_for("towers", tiny_generator)
    assert source.identity == SegmenterSource().identity
    assert source.label(tiny_generator.sample([0, 1]), [0, 1]).shape == (2, 1, 16, 16)


def test_a_segmenters_file_is_a_source_with_the_concepts_of_the_file(tiny_generator, tmp_path):
    save_segmenter(Segmenter(("left", "right"), (4, 4)), tmp_path / "own.safetensors")
    source = source_for(str(tmp_path / "own.safetensors"), tiny_generator)
    assert source.concepts.names == ("left", "right")


def test_a_folder_of_transformers_is_a_source(tiny_generator, tmp_path):
    folder = saved(network("segformer"), tmp_path)
    source = source_for(f"hf:{folder}", tiny_generator)
    assert isinstance(source, HuggingFaceSource)
    assert source.label(tiny_generator.sample([0]), [0]).shape == (1, 1, 16, 16)


def test_images_that_the_segmenter_cannot_halve_are_refused(plain_generator):
    said = r"segmenter towers labels images whose sides 8 divides, got 12 x 12"
    with pytest.raises(ValueError, match=said):
        source_for("towers", plain_generator)


def test_a_segmenter_that_is_not_there_is_told_what_there_could_be(tiny_generator, tmp_path):
    could = r"a segmenter is towers, a segmenter's file, hf:ORG/NAME, hf:FOLDER or text:NAMES, and there is no file"
    for named in ("tower", "", "org/name", str(tmp_path / "none.safetensors")):
        with pytest.raises(FileNotFoundError, match=could):
            source_for(named, tiny_generator)
    with pytest.raises(FileNotFoundError, match=f"did you mean hf:{tmp_path}"):
        source_for(str(tmp_path), tiny_generator)
    for named in ("hf:", "hf:nothing", "hf://org/name", "hf:/no/such/folder"):
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*, and a name on the Hugging Face hub"):
            source_for(named, tiny_generator)


def test_a_file_that_is_no_segmenter_is_refused(tiny_generator, tmp_path):
    save_tensors(tmp_path / "memory.safetensors", {"sum": torch.zeros(1)}, "memory", {})
    with pytest.raises(ValueError, match="holds a memory, not a segmenter"):
        source_for(str(tmp_path / "memory.safetensors"), tiny_generator)
