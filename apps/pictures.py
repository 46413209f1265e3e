"""What a user writes after `--pictures`, as pictures of known classes."""

from pathlib import Path

from dissect.sources.classes import ClassedPictures, ClassFolder, SceneClasses
from rewrite.classifiers.classifier import Classifier

SCENES = "scenes"


def pictures_for(named: str, classifier: Classifier, per_class: int) -> ClassedPictures:
    """The pictures that a name stands for.

    Args:
        named: `scenes`, or a folder with a folder of pictures for each class.
        classifier: What they are shown to.
        per_class: How many scenes of each class are drawn.

    Raises:
        FileNotFoundError, LookupError: There is no such folder, or it is of other classes.
        ValueError: The classifier does not name scenes, or the folder holds no pictures.
    """
    if named != SCENES:
        return ClassFolder(Path(named), classifier)
    if classifier.classes != tuple(SceneClasses.names):
        raise ValueError(f"{SCENES} are of classes that this classifier does not know: name a folder with --pictures")
    return SceneClasses(per_class, size=classifier.size[0])
