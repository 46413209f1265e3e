"""Any user's module as a model of this library: one that draws images, or one that reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

from torch import Tensor, nn

from rewrite.classifiers.classifier import Classifier, Prepare
from rewrite.generators import wrapped
from rewrite.generators.wrapped import DrawLatents, WrappedGenerator

Size = int | tuple[int, int]


@overload
def wrap(
    module: nn.Module,
    latents: int | tuple[int, ...] | DrawLatents,
    layers: Iterable[str] | None = None,
    *,
    images: Callable[[Any], Tensor] | None = None,
    margins: Mapping[str, int | float] | None = None,
) -> WrappedGenerator: ...


@overload
def wrap(
    module: nn.Module,
    *,
    layers: Iterable[str] | None = None,
    images: Size,
    prepare: Prepare | None = None,
    classes: Sequence[str] | None = None,
    scores: Callable[[Any], Tensor] | None = None,
) -> Classifier: ...


def wrap(
    module: nn.Module,
    latents: int | tuple[int, ...] | DrawLatents | None = None,
    layers: Iterable[str] | None = None,
    *,
    images: Callable[[Any], Tensor] | Size | None = None,
    margins: Mapping[str, int | float] | None = None,
    prepare: Prepare | None = None,
    classes: Sequence[str] | None = None,
    scores: Callable[[Any], Tensor] | None = None,
) -> WrappedGenerator | Classifier:
    """See a module as a generator, from latents to images, or as a classifier, from images to scores.

    Args:
        module: The network. A generator runs in the mode that it is in; a classifier is put into evaluation mode.
        latents: Of a generator: the length or shape of one latent, drawn as `RandomState(seed).randn`; or a function
            from seeds to the module's input, one row a seed; a tuple of inputs, or a dictionary of them by the names of
            the module's arguments, where it takes several (noise and classes).
        layers: Paths of the layers to offer; all that can be edited if left out.
        images: Of a generator: from what the module returns to images (n, 3, h, w) in [-1, 1]; the identity if left
            out. Of a classifier: the side, or height and width, of the images that it is given.
        margins: Of a generator: how many cells of what a layer writes lie outside the image on each side, where later
            convolutions without padding cut them off; none if left out.
        prepare: Of a classifier: from images in [-1, 1] to what the module reads, such as the normalisation that it
            was trained with (`rewrite.Preparation`); the images themselves if left out.
        classes: Of a classifier: the name of each class; their numbers if left out.
        scores: Of a classifier: from what the module returns to scores (n, classes), where it is neither them nor an
            object with `logits`.

    Returns:
        The model, whose module is the very module: an edit of the one is an edit of the other.

    Raises:
        LookupError: The module has no layer of that name.
        ValueError: A named layer cannot be edited, a margin leaves nothing of a map, or the module does not return
            images or scores, does not run on what it is given, or is a kind of module that cannot be seen into.
    """
    if latents is not None:
        if images is not None and not callable(images):
            raise ValueError("a module that is given latents draws images: images is a conversion of what it returns")
        return wrapped.wrap(module, latents, layers, images=images, margins=margins)
    if images is None or callable(images):
        raise ValueError("name latents of a module that draws images, or the size of images of one that reads them")
    size = (images, images) if isinstance(images, int) else images
    return Classifier(module, size, prepare=prepare, classes=classes, scores=scores, layers=layers)
