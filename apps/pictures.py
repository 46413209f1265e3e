"""What a user writes after `--pictures`, as pictures of known classes."""

from pathlib import Path

from dissect.sources.classes import ClassedPictures, ClassFolder, SceneClasses
from dissect.sources.grey import DIGITS, digits, holds_idx, idx_folder
from rewrite.classifiers.classifier import Classifier

# What is drawn or installed, by the classes that it is of.
OWN = {"scenes": tuple(SceneClasses.names), "digits": DIGITS}


def pictures_for(named: str | None, classifier: Classifier, per_class: int) -> ClassedPictures:
    """The pictures that a name stands for.

    Args:
        named: `scenes`, `digits`, a folder with a folder of pictures for each class, or one with files of IDX; if left
            out, whichever of the first two the classifier names.
        classifier: What they are shown to.
        per_class: How many scenes of each class are drawn.

    Raises:
        FileNotFoundError, LookupError: There is no such folder, or it is of other classes; or scikit-learn, whose the
            digits are, is not installed.
        ValueError: The classifier does not name such pictures, or the folder holds none.
    """
    if named is None:
        named = next((name for name, classes in OWN.items() if classifier.classes == classes), "scenes")
    if named not in OWN:
        folder = Path(named)
        return idx_folder(folder, classifier) if holds_idx(folder) else ClassFolder(folder, classifier)
    if classifier.classes != OWN[named]:
        raise ValueError(f"{named} are of classes that this classifier does not know: name a folder with --pictures")
    if named == "digits":
        return digits(size=classifier.size)
    return SceneClasses(per_class, size=classifier.size[0])
