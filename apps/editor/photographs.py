"""The photographs of a browser session: what was uploaded, how it is drawn, and the strokes on it. No Gradio in it."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from apps.editor.drawer import Held
from apps.editor.work import Work
from dissect.causes.intervention import Prefix
from dissect.causes.painting import Painting, painted
from dissect.photographs.photograph import Photograph, moved
from dissect.photographs.reading import read_picture
from dissect.photographs.search import Search
from dissect.quality.features import FeatureSpace, SegmenterFeatures
from dissect.sources.towers import SegmenterSource
from dissect.units.dissection import Dissection
from rewrite import Generator

FILE = ".safetensors"
# What a stage is called on the page.
STAGES = {
    "start": "looking for a similar image",
    "z": "moving its latent",
    "w": "moving its latent",
    "w+": "moving a latent for each layer",
    "weights": "changing early weights, for this picture alone",
}


@dataclass
class Photographs:
    """The photographs of one browser session, by the fingerprint of the model. Handlers in one queue change it.

    Attributes:
        found: The photograph of each model.
        drawn: What each stage drew of it, by model; empty for one that was loaded from a file.
        keys: What the file of each is known by where it is kept: 16 digits.
        files: The file of each, which the page may download.
        paintings: The strokes on it, by model and layer.
        edited: Whether the active rules are applied.
        adapted: Whether the change of weights for the picture alone is applied.
        turn: The last request of the easel that was carried out.
    """

    found: dict[str, Photograph] = field(default_factory=dict)
    drawn: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    paintings: dict[tuple[str, str], Painting] = field(default_factory=dict)
    edited: bool = True
    adapted: bool = True
    turn: int = 0

    def keep(self, photograph: Photograph, drawn: dict[str, Tensor], key: str = "") -> None:
        """Put a photograph in the place of the one before, without strokes.

        Args:
            photograph: The photograph.
            drawn: What the stages of its search drew.
            key: What its file is known by, if there is one; drawn anew if left out.
        """
        model = photograph.model
        self.forget(model)
        self.keys[model], self.drawn[model] = key or secrets.token_hex(8), drawn
        self.found[model] = photograph

    def forget(self, model: str) -> None:
        """Keep nothing of the photograph of a model."""
        if (file := self.files.pop(model, None)) is not None:
            shutil.rmtree(file.parent, ignore_errors=True)
        for kept in (self.found, self.drawn, self.keys):
            kept.pop(model, None)
        self.paintings = {key: each for key, each in self.paintings.items() if key[0] != model}

    def file(self, model: str, folder: Path, name: str) -> Path | None:
        """The file of a photograph, in a folder of its own, which is hard to guess; None if there is no photograph."""
        if model in self.found and model not in self.files:
            place = folder / secrets.token_hex(16)
            place.mkdir()
            self.found[model].save(place / name)
            self.files[model] = place / name
        return self.files.get(model)

    def painting(self, photograph: Photograph, layer: str) -> Painting:
        """The strokes on a photograph with the units of a layer."""
        fresh = Painting(photograph.model, layer, photograph.latent.seeds[0])
        return self.paintings.get((photograph.model, layer), fresh)

    def held(self, photograph: Photograph, rules: Held) -> Held:
        """The patches that its image is drawn with."""
        return [*(photograph.held if self.adapted else []), *(rules if self.edited else [])]


def space_of(work: Work) -> FeatureSpace | None:
    """The features that are compared beside colours: those of the model's own segmenter, if it has one."""
    source = work.model.source
    return SegmenterFeatures(source.segmenter) if isinstance(source, SegmenterSource) else None


def read(path: Path, work: Work) -> Photograph | Search:
    """A file that the page sent: a photograph that was found before, or a search for that of a picture.

    Raises:
        ValueError: It is no picture, or the photograph was found with another model.
    """
    try:
        if path.suffix.lower() == FILE:
            photograph = Photograph.load(path)
            if photograph.model != work.model.fingerprint:
                raise ValueError(f"this photograph was found with model {photograph.model}, not with the one open here")
            return photograph
        with work.model.lock:
            generator = work.model.generator
            return Search(generator, read_picture(path, generator.size), space_of(work))
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from None


def searching(search: Search, work: Work) -> Iterator[tuple[str, float]]:
    """Search to the end; yields what is done now, and the share that is done, several times a second.

    Raises:
        Stopped: The user pressed Stop.
    """
    latest = ["start"]

    def run(on_progress) -> None:
        def on_step(stage: str, done: float) -> None:
            latest[:] = [stage]
            on_progress(done)

        search.run(on_step=on_step)

    for done in work.following(run):
        yield STAGES[latest[0]], done


@torch.no_grad()
def image_of(generator: Generator, photograph: Photograph) -> Tensor:
    """The photograph as a generator draws it now, (1, 3, height, width)."""
    return generator.sample(moved(photograph.latent, generator)).float().cpu()


@torch.no_grad()
def painted_image(generator: Generator, photograph: Photograph, painting: Painting, dissection: Dissection) -> Tensor:
    """The same with strokes."""
    prefix = Prefix.of(generator, painting.layer, moved(photograph.latent, generator))
    return painted(prefix, painting, dissection).float().cpu()
