"""What a user writes as MODEL where a generator and a classifier both do."""

from collections.abc import Callable
from typing import Any, TypeVar

from rewrite import Classifier, Generator, load_classifier, load_generator
from rewrite.classifiers.libraries import LIBRARIES
from rewrite.classifiers.packaged import BUILT_IN

Loaded = TypeVar("Loaded")


def load_model(
    named: str, architecture: str | None = None, device: str = "cpu", **drawn: Any
) -> Generator | Classifier:
    """The generator or the classifier that a name or a path stands for.

    Args:
        named: The name or the path.
        architecture: That of a classifier whose file does not say it.
        device: Where to put the network.
        drawn: How a generator draws, as `load_generator` takes it.

    Raises:
        FileNotFoundError: There is no such file, or a package is needed that is not installed.
        LookupError, ValueError: It is neither; the message is that of `load_generator`.
    """
    return model_or(lambda: load_generator(named, device=device, **drawn), named, architecture, device)


def model_or(
    load: Callable[[], Loaded], named: str, architecture: str | None = None, device: str = "cpu"
) -> Loaded | Classifier:
    """What is loaded where a name or a path stands for a generator; the classifier where it stands for one.

    Args:
        load: Loads what is no classifier.
        named: The name or the path.
        architecture: That of a classifier whose file does not say it.
        device: Where to put a classifier.

    Raises:
        FileNotFoundError, LookupError, ValueError: As of `load_model`; the message is that of `load`.
    """
    if architecture is not None or named in BUILT_IN or named.partition(":")[0] in LIBRARIES:
        return load_classifier(named, architecture=architecture, device=device)
    try:
        return load()
    except ValueError:
        try:
            return load_classifier(named, device=device)
        except (ValueError, LookupError):
            pass
        raise
