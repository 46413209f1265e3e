"""Feature spaces: a vector hangs on its image alone, gradients flow, and networks come by name without a download."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dissect.quality.classifiers import classifier_features
from dissect.quality.features import (
    CallableFeatures,
    ClassifierFeatures,
    DiscriminatorFeatures,
    SegmenterFeatures,
)
from dissect.scenes import scenes
from dissect.segmenter import images_of
from rewrite.classifiers.preparation import Preparation
from tests.networks import random_discriminator

NETWORK = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))


@pytest.fixture(params=["segmenter", "discriminator", "classifier", "function"])
def space(request):
    return {
        "segmenter": SegmenterFeatures,
        "discriminator": lambda: DiscriminatorFeatures(random_discriminator()),
        "classifier": lambda: ClassifierFeatures(NETWORK, "small", Preparation((24, 24))),
        "function": lambda: CallableFeatures(lambda images: images.flatten(1)),
    }[request.param]()


def test_a_vector_hangs_on_its_image_alone(space):
    images = torch.rand(19, 3, 16, 16) * 2 - 1
    together = space.vectors(images)
    assert together.ndim == 2
    assert torch.equal(space.vectors(images.flip(0)).flip(0), together)
    for part in (images[:1], images[3:8]):
        start = 0 if len(part) == 1 else 3
        torch.testing.assert_close(space.vectors(part), together[start : start + len(part)], rtol=1e-5, atol=1e-6)


def test_gradients_flow_to_the_image(space):
    images = (torch.rand(2, 3, 16, 16) * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(space.of(images).square().sum(), images)
    assert gradient.abs().sum() > 0


def test_the_features_of_the_segmenter_are_those_that_it_says():
    space, images = SegmenterFeatures(), images_of(scenes(range(3))[0])
    torch.testing.assert_close(space.vectors(images), space.segmenter.features(images), rtol=1e-4, atol=1e-5)


def test_images_that_a_space_cannot_see_are_refused():
    with pytest.raises(ValueError, match="sides that 8 divides"):
        SegmenterFeatures().vectors(torch.zeros(1, 3, 30, 30))
    with pytest.raises(ValueError, match="features of 2 images have the shape"):
        CallableFeatures(lambda images: images.sum()).of(torch.zeros(2, 3, 4, 4))


def test_a_classifier_gives_what_its_last_layer_reads():
    images = torch.rand(2, 3, 24, 24) * 2 - 1
    space = ClassifierFeatures(NETWORK, "small", Preparation((24, 24), (0.5,) * 3, (0.5,) * 3))
    torch.testing.assert_close(space.vectors(images), NETWORK[:4](images))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_networks_of_torchvision_read_their_weights_from_a_file_or_from_the_cache(name, tmp_path, cache):
    models = pytest.importorskip("torchvision").models
    with pytest.raises(FileNotFoundError, match=f"weights of torchvision's {name} are not in torch's cache"):
        classifier_features("torchvision", name)
    torch.manual_seed(0)
    network = models.get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    images = F.interpolate(torch.rand(2, 3, 7, 7) * 2 - 1, 224)
    vectors = classifier_features("torchvision", name, tmp_path / "weights.pth").vectors(images)
    shown = ((images + 1) / 2 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    with torch.no_grad():
        trunk = nn.Sequential(*list(network.children())[:-1])
        torch.testing.assert_close(vectors, trunk(shown).mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)
    kept = cache / "hub" / "checkpoints" / models.get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    (tmp_path / "weights.pth").rename(kept)
    assert torch.equal(classifier_features("torchvision", name).vectors(images), vectors)


def test_networks_of_timm_read_their_weights_from_a_file(tmp_path, cache):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    images = F.interpolate(torch.rand(1, 3, 7, 7) * 2 - 1, network.pretrained_cfg["input_size"][1:])
    space = classifier_features("timm", "resnet10t", tmp_path / "weights.pth")
    mean, deviation = (torch.tensor(network.pretrained_cfg[each])[:, None, None] for each in ("mean", "std"))
    with torch.no_grad():
        wanted = network.forward_head(network.forward_features(((images + 1) / 2 - mean) / deviation), pre_logits=True)
    torch.testing.assert_close(space.vectors(images), wanted, rtol=1e-3, atol=1e-4)
    with pytest.raises(FileNotFoundError, match="weights of timm's resnet10t are not in torch's cache"):
        classifier_features("timm", "resnet10t")


def test_what_is_no_network_or_no_weights_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    with pytest.raises(LookupError, match="no classifier 'resnet81': did you mean resnet"):
        classifier_features("torchvision", "resnet81")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no weights of torchvision's resnet18"):
        classifier_features("torchvision", "resnet18", tmp_path / "other.pth")
    (tmp_path / "torn.pth").write_bytes(b"no")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        classifier_features("torchvision", "resnet18", tmp_path / "torn.pth")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FileNotFoundError, match="need the package timm"):
        classifier_features("timm", "resnet10t")
