"""A page of units: names from outside, paths of layers, images of any shape."""

import pytest
import torch

from dissect import Concepts, dissect
from dissect.units.probe import Observed
from dissect.units.tiles import unit_strips
from dissect.units.unit_page import short_names
from dissect.units.unit_report import write_units
from tests.markup import HOSTILE, Page, assert_shown_as_text
from tests.planted import PlantedProbe
from tests.test_units import shown_by


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["net.scales.0.conv", "net.scales.11.conv"], ["0", "11"]),
        (["b16.conv0", "b32.conv0"], ["b16", "b32"]),
        (["b16.conv0", "b16.conv1", "b32.conv0"], ["b16.conv0", "b16.conv1", "b32.conv0"]),
        (["a", "a.b"], ["a", "a.b"]),
        (["a.b.c", "a.c"], ["b.c", "c"]),
        (["only.one"], ["one"]),
    ],
)
def test_paths_lose_what_all_share(names, short):
    assert short_names(names) == short
    assert len(set(short)) == len(names)


class Hostile(PlantedProbe):
    """Planted units under names that would be markup, on images twice as wide as high."""

    def __init__(self):
        super().__init__()
        names = (HOSTILE, *self.concepts.names[1:])
        self.concepts = Concepts(names, ("<b>", *self.concepts.categories[1:]))
        self.identity = {"model": "m", "source": "<i>&"}

    def observe(self, numbers):
        observed = super().observe(numbers)
        return Observed(observed.activations, torch.zeros(len(numbers), 3, 20, 40), observed.labels)


def test_names_from_outside_are_text_and_never_markup(tmp_path):
    probe = Hostile()
    found = dissect(probe, 128, level_samples=20)
    write_units(tmp_path, probe, found, "<title>")
    page = (tmp_path / "units.html").read_text()
    assert_shown_as_text(page)
    assert Page(page).policy.startswith("default-src 'none';img-src data:;")
    assert shown_by(page)["concepts"][0] == [HOSTILE, 0]
    assert not {"b", "i"} & {tag for tag, _ in Page(page).elements}


def test_strips_have_the_shape_of_the_images():
    probe = Hostile()
    strips = unit_strips(probe, dissect(probe, 64, level_samples=20), side=30)["planted"]
    assert {strip.size for strip in strips} == {(5 * 32 - 2, 15)}
