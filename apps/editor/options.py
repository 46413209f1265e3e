"""The options of the editor."""

from dataclasses import dataclass
from pathlib import Path

MOST_TILES = 24


@dataclass(frozen=True)
class Options:
    """The options of the editor.

    Attributes:
        model: Name or path of the first generator, or of a classifier.
        port: The port; the first free one from 7860 on if None.
        folders: The folders whose checkpoints the page may open.
        out: The folder that exports are written into.
        segmenter: The source of concepts, or `none`.
        samples: Number of images that a memory is measured on.
        tiles: Number of images on the wall; None for as many as are drawn in a moment, at most 16.
        truncation: Truncation of the latents.
        label: The class that generators of several draw; None for all in turn.
        device: Where networks run.
        auth: A name and a password that the page asks for.
        architecture: That of a classifier whose file does not say it.
        pictures: The pictures that a classifier is asked about; those that built-in ones name if None.
        training: How many of each class units and levels are chosen on.
        test: How many of each class answers are counted on.
    """

    model: str = "towers"
    port: int | None = None
    folders: tuple[Path, ...] = ()
    out: Path = Path("export")
    segmenter: str = "towers"
    samples: int = 2000
    tiles: int | None = None
    truncation: float = 1.0
    label: int | str | None = 0
    device: str = "cpu"
    auth: tuple[str, str] | None = None
    architecture: str | None = None
    pictures: str | None = None
    training: int = 25
    test: int = 50
