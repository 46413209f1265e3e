"""What a layer of a classifier usually reads: the second moment of its keys over pictures."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.memory import Memory
from rewrite.memory.sums import Sums, positions_per_image
from rewrite.threads import one_blas_thread


def measure_pictures(
    classifier: Classifier,
    layer: str,
    batches: Iterable[Float[Tensor, "images 3 height width"]],
    pictures: int,
) -> Memory:
    """Measure the second moment of a layer's patch keys over pictures.

    Args:
        classifier: The classifier.
        layer: Name of the layer.
        batches: The pictures, as images in [-1, 1], some at a time.
        pictures: How many there are, which says how many positions of each are read.

    Returns:
        The memory, whose sums are in float64 on the CPU.

    Raises:
        LookupError: The classifier has no such layer.
        ValueError: The layer reads values that are not finite, or there are no pictures.
    """
    measurement = PictureMeasurement(classifier, layer, pictures)
    for images in batches:
        measurement.add(images)
    return measurement.memory()


class PictureMeasurement:
    """A memory of pictures that grows, and can be gone on with. See `measure_pictures`.

    Attributes:
        sums: What was summed so far.
    """

    def __init__(self, classifier: Classifier, layer: str, pictures: int):
        described = classifier.layer(layer)
        self.classifier, self.layer = classifier, layer
        self.sums = Sums(described, positions_per_image(described, max(pictures, 1)), classifier.device)

    @torch.no_grad()
    def add(self, images: Float[Tensor, "images 3 height width"]) -> None:
        """Add the pictures that follow those of before."""
        first = self.sums.images
        with one_blas_thread():
            self.sums.add(self.classifier.cut(self.layer, images), range(first, first + len(images)))

    def memory(self) -> Memory:
        """The memory of all pictures.

        Raises:
            ValueError: There are none, or the layer reads values that are not finite.
        """
        sums, layer = self.sums, self.layer
        if not sums.images:
            raise ValueError("a memory is measured on at least one picture, got none")
        total = sums.total()
        if not torch.isfinite(total).all():
            raise ValueError(f"layer {layer} reads values that are not finite: the classifier's weights are damaged")
        return Memory(
            total=total,
            count=sums.count,
            style_power=sums.style_power.cpu(),
            images=sums.images,
            layer=layer,
            key_space="patch",
            model=self.classifier.fingerprint,
            seeds=((0, sums.images),),
        )
