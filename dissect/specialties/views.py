"""What drives units: mean activations and mean gradients by class, as maps of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dissect.roles.detectors import peaks_of
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.maps import as_maps, units_axis
from rewrite.storage.ledger import Ledger, Tensors

STAGE = "views"
# Maps of larger pictures are reduced to this.
SIDE = 64


@dataclass(frozen=True)
class Views:
    """Means over the pictures of each class.

    Attributes:
        units, classes: The numbers of the units and of the classes.
        activation: The activation of each unit by its place in the map; of vectors and class tokens, one place.
        gradient: By how much a unit's peak grows with each pixel, summed over colours.
        positive: The same of the positive part of each gradient alone: where more light drives the unit.
    """

    units: Sequence[int]
    classes: Sequence[int]
    activation: Float[Tensor, "units classes rows columns"]
    gradient: Float[Tensor, "units classes height width"]
    positive: Float[Tensor, "units classes height width"]


def find_views(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    numbers: Sequence[int],
    units: Sequence[int],
    ledger: Ledger,
) -> Views:
    """Sum activations and gradients over pictures.

    Args:
        classifier: The classifier.
        part: Path of the part that the units are of.
        pictures: Where pictures are from.
        numbers: The pictures.
        units: The units.
        ledger: Where what is known so far is kept.
    """
    classes = sorted(set(pictures.classes(numbers).tolist()))

    def measure(places: Sequence[int]) -> Tensors:
        chosen = [numbers[place] for place in places]
        membership = (pictures.classes(chosen)[:, None] == torch.tensor(classes)).double()
        found = _views(classifier, part, pictures.images(chosen), units)
        summed = {name: torch.einsum("ic,iu...->uc...", membership, each.double()) for name, each in found.items()}
        return {**summed, "count": membership.sum(dim=0)}

    sums = dict(ledger.over(STAGE, range(len(numbers)), measure))
    count = sums.pop("count")[:, None, None]
    return Views(units, classes, **{name: (each / count).float() for name, each in sums.items()})


def _views(classifier: Classifier, part: str, images: Tensor, units: Sequence[int]) -> dict[str, Tensor]:
    """The maps of each image and unit."""
    images = images.to(classifier.device, classifier.dtype).requires_grad_()
    with torch.enable_grad():
        output = classifier.stop(part, images).output
        peaks = peaks_of(output)
        slopes = [torch.autograd.grad(peaks[:, unit].sum(), images, retain_graph=True)[0].sum(dim=1) for unit in units]
    gradient = torch.stack(slopes, dim=1).detach()
    return {
        "activation": _as_places(output.detach())[:, list(units)].cpu(),
        "gradient": _reduced(gradient).cpu(),
        "positive": _reduced(gradient.clamp(min=0)).cpu(),
    }


def _as_places(output: Tensor) -> Float[Tensor, "images units rows columns"]:
    """Maps of units; tokens that are of no square as one place, their mean."""
    try:
        return as_maps(output)
    except ValueError:
        return output.movedim(units_axis(output), 1).flatten(2).mean(dim=2)[:, :, None, None]


def _reduced(maps: Float[Tensor, "images units height width"]) -> Float[Tensor, "images units rows columns"]:
    height, width = maps.shape[-2:]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return maps if size == (height, width) else F.adaptive_avg_pool2d(maps, size)
