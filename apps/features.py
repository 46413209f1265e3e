"""What a user writes after `--features`, as a feature space."""

from pathlib import Path

from dissect.quality.classifiers import LIBRARIES, classifier_features
from dissect.quality.features import DiscriminatorFeatures, FeatureSpace, SegmenterFeatures
from dissect.segmenter import load_segmenter
from rewrite import load_discriminator
from rewrite.generators.contract import Generator

KINDS = "segmenter, discriminator, torchvision:NAME or timm:NAME"


def features_for(named: str, weights: Path | None, model: str, generator: Generator) -> FeatureSpace:
    """The feature space that a name stands for, on the generator's device.

    Args:
        named: `segmenter` (the built-in one), `discriminator` (the one in MODEL), `torchvision:NAME`, `timm:NAME`.
        weights: A file with the weights of a network of torchvision or timm.
        model: What the user named as MODEL.
        generator: Whose images will be seen.

    Raises:
        FileNotFoundError: A package, a file, or weights are missing.
        LookupError: There is no such space, or a library has no such network.
        ValueError: The model has no discriminator, or the space cannot see its images.
    """
    library, colon, name = named.partition(":")
    if colon and library in LIBRARIES:
        space = classifier_features(library, name, weights)
        space.network.to(generator.device)
        return space
    if weights is not None:
        raise ValueError(f"--weights go with a network of {' or '.join(LIBRARIES)}, got --features {named}")
    if named == "segmenter":
        space = SegmenterFeatures(load_segmenter().to(generator.device))
        space.segmenter.check(generator.sample([0]))
        return space
    if named == "discriminator":
        return DiscriminatorFeatures(load_discriminator(model, device=generator.device))
    raise LookupError(f"there are no features {named!r}: there are {KINDS}")
