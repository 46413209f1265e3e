"""How far the maps of a network lie beyond its image, measured."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import wrap
from rewrite.rules.masks import cover
from tests.user_modules import GENERATORS, frozen


class Cropped(nn.Module):
    """Padded once, then convolved without padding, doubled, and cropped below and on the left."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.first, self.second, self.third = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, z):
        x = F.leaky_relu(self.second(F.leaky_relu(self.first(F.pad(z, (2, 2, 2, 2))))))
        return torch.tanh(self.third(F.interpolate(x, scale_factor=2))[:, :, :-3, 2:])


def test_margins_are_measured_also_on_one_side_alone():
    found = {name: layer.margin for name, layer in wrap(frozen(Cropped()), (2, 12, 12)).layers.items()}
    # Above, below, left, right; the image has 21 rows of 24 and 22 columns.
    assert found == {"first": (1.0, 2.5, 2.0, 1.0), "second": (0.0, 1.5, 1.0, 0.0), "third": (0.0, 3.0, 2.0, 0.0)}
    given = wrap(frozen(Cropped()), (2, 12, 12), margins={"first": 2}).layers
    assert (given["first"].margin, given["third"].overhang) == (2.0, (0.0, 3.0, 2.0, 0.0))


def test_no_margin_is_measured_where_maps_fit_or_every_cell_moves_all_pixels():
    assert all(layer.margin == 0 for layer in GENERATORS["mixed"]().layers.values())

    class Mean(Cropped):
        def forward(self, z):
            x = self.second(F.pad(z.repeat(1, 3, 1, 1), (2, 2, 2, 2)))
            return torch.tanh(self.third(x - x.mean(dim=(2, 3), keepdim=True) * 5))[:, :, 1:]

    assert wrap(frozen(Mean()), (2, 12, 12)).layer("second").margin == 0


class Shrinking(nn.Module):
    """A network that pads once, at the beginning, as SinGAN does: its maps are larger than the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second, self.last = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 3, 3)

    def forward(self, z):
        x = F.pad(z.reshape(-1, 2, 12, 12), (3, 3, 3, 3))
        return torch.tanh(self.last(F.leaky_relu(self.second(F.leaky_relu(self.first(x))))))


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("name", "margin"), [("first", 2), ("second", 1), ("last", 0)])
def test_marks_meet_the_cells_that_draw_them_where_maps_are_larger_than_the_image(name, margin, given):
    generator = wrap(Shrinking(), 288, margins={name: margin} if given else None)
    layer, mask = generator.layer(name), np.zeros((12, 12), dtype=bool)
    mask[4:7, 8:10] = True
    covered = cover(mask, layer) > 0
    # What a pixel is drawn from has the pixel at its middle: the reference is the gradient of each marked pixel.
    output = generator.output(name, generator.cut(name, generator.latents([0]))).requires_grad_()
    with torch.enable_grad():
        image = generator.onward(name, generator.cut(name, generator.latents([0])), output)
    middles = set()
    for row, column in np.argwhere(mask):
        (slope,) = torch.autograd.grad(image[0, :, row, column].sum(), output, retain_graph=True)
        cells = slope[0].abs().sum(dim=0).nonzero()
        middles.add(tuple(((cells.min(dim=0).values + cells.max(dim=0).values) // 2).tolist()))
    assert {tuple(cell) for cell in np.argwhere(covered.numpy().reshape(layer.output_grid)).tolist()} == middles


def test_a_margin_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leaves nothing of the 16 x 16"):
        wrap(Shrinking(), 288, margins={"first": 8})
    with pytest.raises(LookupError, match="no layer 'frist'"):
        wrap(Shrinking(), 288, margins={"frist": 1})
