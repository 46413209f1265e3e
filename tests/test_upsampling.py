"""Upsampling, against scipy and torch; the sparse answer against the dense one."""

import itertools

import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from dissect.units.upsampling import Upsampling

SIDES = [(1, 1), (2, 3), (4, 4), (7, 5), (8, 8), (13, 16)]
SIZES = [(1, 1), (3, 7), (8, 8), (16, 16), (17, 33), (32, 64)]
PAIRS = list(itertools.product(SIDES, SIZES))


def maps_of(grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, *grid, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("grid", "size"), PAIRS)
def test_upsampling_agrees_with_scipy_at_half_pixel_centres(grid, size):
    maps = maps_of(grid)
    places = [
        (torch.arange(n, dtype=torch.float64) + 0.5) * cells / n - 0.5 for cells, n in zip(grid, size, strict=True)
    ]
    coordinates = torch.stack(torch.meshgrid(*places, indexing="ij")).numpy()
    found = Upsampling(grid, size).everywhere(maps)
    for image, unit in itertools.product(range(2), range(3)):
        # Borders go on as they are: scipy's mode "nearest".
        wanted = ndimage.map_coordinates(maps[image, unit].double().numpy(), coordinates, order=1, mode="nearest")
        assert torch.allclose(found[image, unit].double(), torch.from_numpy(wanted), atol=1e-6)


@pytest.mark.parametrize(("grid", "size"), PAIRS)
def test_upsampling_agrees_with_torch_without_aligned_corners(grid, size):
    maps = maps_of(grid)
    wanted = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    assert torch.allclose(Upsampling(grid, size).everywhere(maps), wanted, atol=1e-4)


@pytest.mark.parametrize(("grid", "size"), PAIRS)
def test_the_sparse_answer_is_the_dense_one_to_the_bit(grid, size):
    maps, upsampling = maps_of(grid), Upsampling(grid, size)
    dense = upsampling.everywhere(maps)
    for levels in (dense.amax(dim=(0, 2, 3)), dense.mean(dim=(0, 2, 3)), torch.full((3,), -torch.inf)):
        lit = upsampling.above(maps, levels)
        drawn = torch.zeros(2, 3, size[0] * size[1], dtype=torch.int64)
        drawn.index_put_(tuple(lit), torch.ones_like(lit.pixels), accumulate=True)
        assert torch.equal(drawn.reshape(dense.shape), (dense > levels[:, None, None]).long())
        assert (lit.images.diff() >= 0).all()


@pytest.mark.parametrize(("grid", "size"), PAIRS)
def test_values_at_some_pixels_are_those_of_the_whole_map(grid, size):
    maps, upsampling = maps_of(grid), Upsampling(grid, size)
    pixels = torch.randint(size[0] * size[1], (2, 11), generator=torch.Generator().manual_seed(1))
    wanted = upsampling.everywhere(maps).flatten(2).gather(2, pixels[:, None].expand(-1, 3, -1))
    assert torch.equal(upsampling.at(maps, pixels), wanted)


@pytest.mark.parametrize("size", [(64, 64), (61, 67)])
def test_a_map_of_ones_stays_one_to_the_border(size):
    assert torch.equal(Upsampling((8, 8), size).everywhere(torch.ones(1, 1, 8, 8)), torch.ones(1, 1, *size))


def test_what_a_unit_shows_does_not_move():
    lit = Upsampling((8, 8), (64, 64)).everywhere(torch.eye(8)[2][None, :, None].expand(1, 8, 8)[None])[0, 0, :, 0]
    centre = (lit * torch.arange(64)).sum() / lit.sum()
    assert centre == pytest.approx(2.5 * 8 - 0.5, abs=1e-3)


def test_constant_maps_at_their_own_level_light_nothing():
    maps = torch.full((1, 2, 4, 4), 0.3)
    assert len(Upsampling((4, 4), (31, 31)).above(maps, torch.full((2,), 0.3 * (1 + 1e-6))).pixels) == 0
