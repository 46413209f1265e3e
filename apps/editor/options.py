"""What the editor is started with."""

from dataclasses import dataclass
from pathlib import Path

MOST_TILES = 24


@dataclass(frozen=True)
class Options:
    """What the editor is started with.

    Attributes:
        model: Name or path of the first generator.
        port: Where to listen; the first free one from 7860 on if left out.
        folders: The folders whose checkpoints the page may open.
        out: The folder that exports are written into.
        segmenter: What names the pixels, or `none`.
        samples: Images that a memory is measured on.
        tiles: Images on the wall.
        truncation: Of the latents.
        auth: A name and a password that the page asks for.
    """

    model: str = "towers"
    port: int | None = None
    folders: tuple[Path, ...] = ()
    out: Path = Path("export")
    segmenter: str = "towers"
    samples: int = 2000
    tiles: int = 16
    truncation: float = 1.0
    auth: tuple[str, str] | None = None
