"""LPIPS without torchvision, and how its trunks come to be there."""

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from rewrite.checkpoints import downloads
from rewrite.reports.perceptual import Perceptual, linear_weights, load_perceptual
from rewrite.reports.trunks import KINDS, Trunk, cached_trunk, download_trunk, load_trunk

REAL = Path(__file__).parents[2] / "shared/weights/files/squeezenet1_1.pt"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real trunk is not at hand")


def random_state(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {f"features.{key}": value for key, value in KINDS[name].build().state_dict().items()}
    return {**state, "classifier.1.weight": torch.zeros(2)}


def packaged_lpips(name: str, features: nn.Sequential, monkeypatch) -> nn.Module:
    """The distance of the lpips package itself, given our trunk in place of torchvision's."""
    models = types.ModuleType("torchvision.models")
    for function in ("squeezenet1_1", "alexnet", "vgg16"):
        setattr(models, function, lambda pretrained: types.SimpleNamespace(features=features))
    torchvision = types.ModuleType("torchvision")
    torchvision.models = models
    for module in [key for key in sys.modules if key.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    import lpips

    found = lpips.LPIPS(net=name, verbose=False)
    for module in [key for key in sys.modules if key.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, module)
    return found


@pytest.mark.parametrize("name", ["squeeze", "alex"])
def test_the_distance_is_that_of_the_lpips_package(name, monkeypatch):
    perceptual = Perceptual(Trunk(name, random_state(name)))
    expected = packaged_lpips(name, perceptual.trunk.features, monkeypatch)
    before, after = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(perceptual(before, after), expected(before, after).detach().flatten())
    expected.spatial, where = True, torch.rand(2, 64, 64) > 0.5
    each = expected(before, after).detach()[:, 0]
    outside = torch.stack([one[chosen].mean() for one, chosen in zip(each, where)])
    torch.testing.assert_close(perceptual(before, after, where), outside)


@pytest.mark.parametrize("name", list(KINDS))
def test_each_tap_of_a_trunk_has_a_weight_for_each_channel(name):
    seen = [torch.zeros(1, 3, 32, 32)]
    for module in KINDS[name].build().requires_grad_(False):
        seen.append(module(seen[-1]))
    channels = [seen[tap + 1].shape[1] for tap in KINDS[name].taps]
    assert channels == [len(weight) for weight in linear_weights(name)]


def test_equal_images_are_at_distance_zero_and_the_distance_is_symmetric():
    perceptual = Perceptual(Trunk("squeeze", random_state("squeeze")))
    first, second = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    assert torch.equal(perceptual(first, first), torch.zeros(2))
    torch.testing.assert_close(perceptual(first, second), perceptual(second, first))


def test_images_too_small_for_the_trunk_are_refused():
    perceptual = Perceptual(Trunk("squeeze", random_state("squeeze")))
    with pytest.raises(ValueError, match="at least 32 pixels"):
        perceptual(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))


@needs_real
def test_on_a_real_trunk_a_stronger_blur_looks_more_different():
    perceptual = load_perceptual(REAL)
    assert perceptual.name == "squeeze"
    torch.manual_seed(0)
    image = nn.functional.interpolate(torch.rand(1, 3, 16, 16) * 2 - 1, size=(64, 64), mode="nearest")
    blurred = [nn.functional.avg_pool2d(image, size, 1, size // 2, count_include_pad=False) for size in (3, 5, 9)]
    distances = [float(perceptual(image, other)) for other in (image, *blurred)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[-1] > 0.1


@pytest.mark.parametrize("name", ["squeeze", "alex"])
def test_a_file_says_by_its_shapes_which_trunk_it_holds(name, tmp_path):
    state = {key: value.half() for key, value in random_state(name).items()}
    torch.save(state, tmp_path / "trunk.pth")
    assert load_trunk(tmp_path / "trunk.pth").name == name


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"hello", b"\x80\x02csystem\n.", None, [1, 2]])
def test_a_file_without_a_trunk_is_refused_in_one_sentence(content, tmp_path):
    path = tmp_path / "trunk.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content if content else {"features.0.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match=r"trunk\.pth (cannot be read|holds none)"):
        load_trunk(path)


def test_without_a_file_and_with_an_empty_cache_there_is_none_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads.urllib.request, "urlopen", None)
    assert cached_trunk() is None
    assert load_perceptual() is None


def test_a_trunk_in_the_cache_is_found_and_not_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads.urllib.request, "urlopen", None)
    (tmp_path / "checkpoints").mkdir()
    torch.save(random_state("squeeze"), tmp_path / "checkpoints" / KINDS["squeeze"].file)
    assert load_perceptual().name == "squeeze"
    assert load_perceptual(download="squeeze").name == "squeeze"


def test_an_unknown_trunk_is_refused():
    with pytest.raises(LookupError, match="there are squeeze, alex, vgg"):
        download_trunk("resnet")
