"""What a user writes after `--reference` or `--training`, as pictures to compare a generator with."""

from pathlib import Path

from dissect.sources.images import ImageFolder
from dissect.sources.pictures import Pictures
from dissect.sources.towers import Scenes
from rewrite.generators.contract import Generator

SCENES = "scenes"
FIRST_SCENE = 2_000_000


def pictures_for(named: str, generator: Generator, count: int) -> Pictures:
    """The pictures that a name stands for, at the size of a generator's images.

    Args:
        named: `scenes` of the built-in world, or a folder of images.
        generator: What they are compared with.
        count: How many scenes.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The folder holds no image, or scenes are not of the generator's shape.
    """
    if named != SCENES:
        return ImageFolder(Path(named), generator.size)
    height, width = generator.size
    if height != width:
        raise ValueError(f"scenes are square, the generator draws {height} x {width}: name a folder of images")
    return Scenes(FIRST_SCENE, count, height)
