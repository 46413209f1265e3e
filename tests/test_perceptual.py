"""LPIPS on trunks of the user's, and how they come to be there."""

import functools
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from rewrite.checkpoints import downloads
from rewrite.reports.perceptual import Perceptual, load_perceptual
from rewrite.reports.trunks import TRUNKS, cached_trunk, download_trunk

REAL = Path(__file__).parents[2] / "shared/weights/files/squeezenet1_1.pt"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real trunk is not at hand")


FEATURES = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}
TAPS = {"squeeze": (1, 4, 7, 9, 10, 11, 12), "alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}


@functools.cache
def random_trunk(name: str) -> nn.Sequential:
    # The classifiers above the trunks hold most of the weights, and are not used.
    with torch.device("meta"):
        network = getattr(torchvision.models, FEATURES[name])(weights=None)
    trunk = network.features.to_empty(device="cpu")
    torch.manual_seed(0)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return trunk.eval().requires_grad_(False)


def random_state(name: str) -> dict[str, torch.Tensor]:
    state = {f"features.{key}": value for key, value in random_trunk(name).state_dict().items()}
    return {**state, "classifier.1.weight": torch.zeros(2)}


def maps_of_squares(name: str, before: torch.Tensor, after: torch.Tensor) -> list[torch.Tensor]:
    """Σ_c w_lc (f̂_lc(x) - f̂_lc(y))² at each position of each tap, by the formula of the paper."""
    folder = Path(importlib.util.find_spec("lpips").origin).parent
    stored = torch.load(folder / f"weights/v0.1/{name}.pth", map_location="cpu", weights_only=True)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    found, both = [], torch.cat([before, after])
    both = (both - shift[:, None, None]) / scale[:, None, None]
    for number, module in enumerate(random_trunk(name)):
        both = module(both)
        if number in TAPS[name]:
            first, second = (both / both.norm(dim=1, keepdim=True)).nan_to_num().chunk(2)
            weight = stored[f"lin{len(found)}.model.1.weight"].flatten()
            found.append(torch.einsum("c,nchw->nhw", weight, (first - second).square()))
    return found


@pytest.mark.parametrize("name", list(TRUNKS))
def test_the_distance_is_that_of_the_paper_whole_and_over_some_pixels(name):
    perceptual = Perceptual(name, random_state(name))
    torch.manual_seed(1)
    before, after = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    maps = maps_of_squares(name, before, after)
    torch.testing.assert_close(perceptual(before, after), sum(each.mean(dim=(1, 2)) for each in maps))
    where = torch.rand(2, 64, 64) > 0.5
    pixels = sum(nn.functional.interpolate(each[:, None], size=(64, 64), mode="bilinear")[:, 0] for each in maps)
    expected = torch.stack([one[chosen].mean() for one, chosen in zip(pixels, where)])
    torch.testing.assert_close(perceptual(before, after, where), expected)
    torch.testing.assert_close(perceptual(before, after), sum(each.mean(dim=(1, 2)) for each in maps))


def test_equal_images_are_at_distance_zero_and_the_distance_is_symmetric():
    perceptual = Perceptual("squeeze", random_state("squeeze"))
    first, second = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    assert torch.equal(perceptual(first, first), torch.zeros(2))
    torch.testing.assert_close(perceptual(first, second), perceptual(second, first))


def test_images_too_small_for_the_trunk_are_refused():
    perceptual = Perceptual("squeeze", random_state("squeeze"))
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
    assert load_perceptual(tmp_path / "trunk.pth").name == name


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"hello", b"\x80\x02csystem\n.", None, [1, 2]])
def test_a_file_without_a_trunk_is_refused_in_one_sentence(content, tmp_path):
    path = tmp_path / "trunk.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content if content else {"features.0.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match=r"trunk\.pth (cannot be read|holds none)"):
        load_perceptual(path)


def test_without_a_file_and_with_an_empty_cache_there_is_none_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads.urllib.request, "urlopen", None)
    assert cached_trunk() is None
    assert load_perceptual() is None


def test_a_trunk_in_the_cache_is_found_and_not_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads.urllib.request, "urlopen", None)
    (tmp_path / "checkpoints").mkdir()
    torch.save(random_state("squeeze"), tmp_path / "checkpoints" / TRUNKS["squeeze"].file)
    assert load_perceptual().name == "squeeze"
    assert load_perceptual(download="squeeze").name == "squeeze"


def test_weights_of_a_trunk_that_do_not_fit_are_refused_with_the_file(tmp_path):
    for changed, said in (({}, "features.0.bias"), ({"features.0.bias": torch.zeros(3)}, "slice1.0.bias|Error")):
        state = random_state("squeeze")
        del state["features.0.bias"]
        torch.save({**state, **changed}, tmp_path / "trunk.pth")
        with pytest.raises(ValueError, match=f"trunk.pth: these are not weights of LPIPS' trunk squeeze: .*({said})"):
            load_perceptual(tmp_path / "trunk.pth")


def test_a_torchvision_that_cannot_be_imported_leaves_out_what_nobody_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / TRUNKS["squeeze"].file
    torch.save(random_state("squeeze"), path)
    for module in [key for key in sys.modules if key.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert load_perceptual() is None
    for asked in ({"path": path}, {"download": "squeeze"}):
        with pytest.raises(FileNotFoundError, match="LPIPS needs the package lpips and torchvision"):
            load_perceptual(**asked)


def test_an_unknown_trunk_is_refused():
    with pytest.raises(LookupError, match="there are squeeze, alex, vgg"):
        download_trunk("resnet")
