"""Feature spaces: what a network sees of an image, as one vector, so that sets of images can be compared."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dissect.segmenter import Segmenter, load_segmenter
from rewrite.classifiers.preparation import Preparation
from rewrite.generators.discriminator import Discriminator
from rewrite.generators.fingerprint import hash_of

# Vectors are always computed in batches of one size, filled up, because convolutions round by the size of a batch.
TOGETHER = 16


class FeatureSpace(ABC):
    """Images to vectors.

    Attributes:
        identity: What tells this space from others in the provenance of a result.
    """

    identity: str

    @abstractmethod
    def maps(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images features rows columns"]:
        """What is seen of images in [-1, 1], place by place, or at one place for the whole image.

        Gradients flow through it.

        Raises:
            ValueError: The space cannot see images of this shape, or does not give what it should.
        """

    def of(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images features"]:
        """One vector for each image, the mean over places; gradients flow through it."""
        return self.maps(images).mean(dim=(2, 3))

    @torch.no_grad()
    def vectors(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images features"]:
        """The same without gradients, on the CPU; a vector depends on its image alone."""
        filled = torch.cat([images, images[-1:].expand(-len(images) % TOGETHER, -1, -1, -1)])
        return torch.cat([self.of(part).float().cpu() for part in filled.split(TOGETHER)])[: len(images)]


class SegmenterFeatures(FeatureSpace):
    """The bottleneck of a segmenter of this library's."""

    def __init__(self, segmenter: Segmenter | None = None):
        self.segmenter = (segmenter or load_segmenter()).eval().requires_grad_(False)
        self.identity = f"the segmenter {hash_of(self.segmenter.state_dict())}"

    def maps(self, images: Tensor) -> Tensor:
        self.segmenter.check(images)
        return self.segmenter.descend(images.to(self.segmenter.head.weight))[-1]


class DiscriminatorFeatures(FeatureSpace):
    """What the last layer of a StyleGAN2's discriminator reads, each image judged alone."""

    def __init__(self, discriminator: Discriminator):
        self.discriminator = deepcopy(discriminator)
        self.discriminator.b4.group = 1
        self.identity = f"the discriminator {hash_of(discriminator.state_dict())}"

    def maps(self, images: Tensor) -> Tensor:
        return self.discriminator.features(images.to(next(self.discriminator.parameters())))[:, :, None, None]


class CallableFeatures(FeatureSpace):
    """A function of the user's: images in [-1, 1] to vectors (n, features) or maps (n, features, rows, columns)."""

    def __init__(self, function: Callable[[Tensor], Tensor], identity: str = ""):
        self.function = function
        self.identity = identity or getattr(function, "__qualname__", type(function).__name__)

    def maps(self, images: Tensor) -> Tensor:
        seen = self.function(images)
        if seen.ndim == 2:
            seen = seen[:, :, None, None]
        if seen.ndim != 4 or len(seen) != len(images):
            raise ValueError(
                f"features of {len(images)} images have the shape ({len(images)}, features) or ({len(images)}, "
                f"features, rows, columns), got {tuple(seen.shape)}"
            )
        return seen


class ClassifierFeatures(FeatureSpace):
    """What the last layer of a classifier reads: the last linear layer or convolution that runs.

    Args:
        network: From images to scores.
        name: What it is called.
        seen: How it wants to be shown images.
    """

    def __init__(self, network: nn.Module, name: str, seen: Preparation | None = None):
        self.network, self.seen = network.eval().requires_grad_(False), seen or Preparation()
        self.identity = f"{name} {hash_of(network.state_dict())}"
        self.last = _last_layer(self.network, torch.zeros(1, 3, *self.seen.size))

    def maps(self, images: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
        try:
            self.network(self.seen(images.to(next(self.network.parameters()))))
        finally:
            handle.remove()
        if isinstance(self.last, nn.Conv2d):
            return found[-1]
        # A linear layer reads the last axis; whatever lies between are places.
        return found[-1].reshape(len(images), -1, self.last.in_features).transpose(1, 2)[..., None]


def _last_layer(network: nn.Module, trial: Tensor) -> nn.Linear | nn.Conv2d:
    """The last layer with weights that runs."""
    ran: list[nn.Linear | nn.Conv2d] = []
    layers = [each for each in network.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    handles = [each.register_forward_hook(lambda *_, each=each: ran.append(each)) for each in layers]
    try:
        with torch.no_grad():
            network(trial)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise ValueError("the network has no linear layer and no convolution whose input could be read")
    return ran[-1]
