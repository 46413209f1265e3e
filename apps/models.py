"""What a user writes as MODEL where a generator and a classifier both do."""

from typing import Any

from rewrite import Classifier, Generator, load_classifier, load_generator
from rewrite.classifiers.libraries import LIBRARIES
from rewrite.classifiers.packaged import BUILT_IN


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
    if architecture is not None or named in BUILT_IN or named.partition(":")[0] in LIBRARIES:
        return load_classifier(named, architecture=architecture, device=device)
    try:
        return load_generator(named, device=device, **drawn)
    except ValueError:
        try:
            return load_classifier(named, device=device)
        except (ValueError, LookupError):
            pass
        raise
