"""What a user writes as MODEL where a generator and a classifier both do."""

from rewrite import Classifier, Generator, load_classifier, load_generator
from rewrite.classifiers.libraries import LIBRARIES
from rewrite.classifiers.packaged import BUILT_IN


def load_model(named: str) -> Generator | Classifier:
    """The generator or the classifier that a name or a path stands for.

    Raises:
        FileNotFoundError: There is no such file, or a package is needed that is not installed.
        LookupError, ValueError: It is neither; the message is that of `load_generator`.
    """
    if named in BUILT_IN or named.partition(":")[0] in LIBRARIES:
        return load_classifier(named)
    try:
        return load_generator(named)
    except ValueError:
        try:
            return load_classifier(named)
        except (ValueError, LookupError):
            pass
        raise
