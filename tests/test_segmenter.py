"""The packaged segmenter labels scenes that it has not seen, and a damaged file is refused in one sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dissect.scenes import CONCEPTS, LEAVES, Tree, compose, draw, scenes
from dissect.segmenter import PACKAGED, Segmenter, images_of, load_segmenter, save_segmenter
from dissect.units.agreement import class_iou, confusion
from rewrite.storage.files import save_tensors


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load_segmenter()


@pytest.fixture(scope="module")
def held_out() -> tuple[torch.Tensor, np.ndarray]:
    pictures, labels = scenes(range(2_000_000, 2_000_100))
    return images_of(pictures), labels


def scores(segmenter: Segmenter, images: torch.Tensor, labels: np.ndarray) -> np.ndarray:
    return class_iou(confusion(labels, segmenter.label(images), len(CONCEPTS)))


def test_the_packaged_file_is_small_and_says_where_it_comes_from(segmenter):
    assert PACKAGED.stat().st_size < 2_000_000
    assert segmenter.concepts == CONCEPTS
    assert {"seed", "steps", "seconds", "machine", "held_out"} <= set(segmenter.provenance)


def test_held_out_scenes_are_labelled_right(segmenter, held_out):
    iou = scores(segmenter, *held_out)
    assert iou.mean() >= 0.97
    assert iou.min() >= 0.95


def test_mild_blur_and_noise_do_little_harm(segmenter, held_out):
    images, labels = held_out[0][:20], held_out[1][:20]
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blurred = torch.lerp(images, soft, 0.5)
    noisy = images + 0.04 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert scores(segmenter, blurred, labels).mean() >= 0.93
    assert scores(segmenter, noisy, labels).mean() >= 0.93


def test_a_tree_on_a_tower_is_a_tree(segmenter):
    pictures, labels = [], []
    for seed in range(2_000_000, 2_000_020):
        scene = compose(seed)
        trees = tuple(Tree(tower.x, tower.top + 1, 5.5, LEAVES[seed % len(LEAVES)]) for tower in scene.towers)
        picture, exact = draw(replace(scene, trees=trees))
        pictures.append(picture)
        labels.append(exact)
    iou = scores(segmenter, images_of(np.stack(pictures)), np.stack(labels))
    assert iou[CONCEPTS.index("tree")] >= 0.93


def test_labels_do_not_hang_on_the_batch(segmenter, held_out):
    together = segmenter.label(held_out[0][:3])
    assert (together.shape, together.dtype) == ((3, 64, 64), np.uint8)
    assert np.mean(together[1] == segmenter.label(held_out[0][1:2])[0]) > 0.999


def test_features_are_one_vector_for_each_image(segmenter, held_out):
    features = segmenter.features(held_out[0][:4])
    assert features.shape == (4, segmenter.widths[-1])
    assert not features.requires_grad
    assert len(features.unique(dim=0)) == 4


def test_labelling_leaves_a_segmenter_in_training_as_it_was():
    segmenter = Segmenter().train()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    segmenter.label(torch.zeros(1, 3, 64, 64))
    assert segmenter.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in segmenter.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 60, 64)])
def test_images_of_a_wrong_shape_are_refused(segmenter, shape):
    with pytest.raises(ValueError, match=r"images must be floating point of shape \(n, 3, h, w\)"):
        segmenter.label(torch.zeros(shape))


def test_bytes_are_refused_as_images(segmenter):
    with pytest.raises(ValueError, match="images must be floating point"):
        segmenter.label(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_a_saved_segmenter_labels_as_before(tmp_path, segmenter, held_out):
    save_segmenter(segmenter, tmp_path / "copy.safetensors")
    copy = load_segmenter(tmp_path / "copy.safetensors")
    assert copy.provenance == segmenter.provenance
    assert np.array_equal(copy.label(held_out[0][:2]), segmenter.label(held_out[0][:2]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load_segmenter(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_file_cut_short_is_refused_in_one_sentence(tmp_path, segmenter, kept):
    path = tmp_path / "cut.safetensors"
    save_segmenter(segmenter, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="cut short") as caught:
        load_segmenter(path)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_header_are_refused_in_one_sentence(tmp_path):
    segmenter = Segmenter()
    segmenter.widths = (8, 8, 8, 8)
    save_segmenter(segmenter, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_segmenter(tmp_path / "other.safetensors")
    assert "\n" not in str(caught.value)


def test_a_header_without_widths_is_refused_in_one_sentence(tmp_path):
    save_tensors(tmp_path / "bare.safetensors", {"weight": torch.zeros(1)}, "segmenter", {"concepts": ["sky"]})
    with pytest.raises(ValueError, match="names no concepts, widths and provenance"):
        load_segmenter(tmp_path / "bare.safetensors")
