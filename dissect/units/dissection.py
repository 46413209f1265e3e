"""What was counted of the units of one view, and the files that hold it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dissect.units.informative import Graded, Informative
from dissect.units.scores import Scores
from dissect.units.tally import Tally
from dissect.units.tops import Tops
from rewrite.reports.concepts import Concepts
from rewrite.reports.rendering import render
from rewrite.storage import files, ledger
from rewrite.storage.ledger import Ranges, Stage, meeting
from rewrite.storage.quoting import lacking

KIND = "dissection"
TEMPLATE = Path(__file__).parent / "templates" / "dissection.html"
# The one stage of its file.
UNITS = "units"
BUILT_IN = {"towers": Path(__file__).with_name("towers-units.safetensors")}


@dataclass(frozen=True)
class Dissection:
    """What was counted of the units of one view.

    Attributes:
        view: The layer, or what was made of it.
        concepts: What labels stand for.
        levels: The level of each unit.
        tally: The counts at these levels.
        far_fewer: Of each unit, whether far fewer pixels passed its level than were asked for; unknown in older files.
        tops: The images with the greatest activations.
        grades: Candidate levels, where informative levels were asked for.
        graded: Counts at the candidates.
        numbers: The images that were counted, as ranges with an end of their own.
        identity: The probe, and how levels were chosen.
    """

    view: str
    concepts: Concepts
    levels: Float[Tensor, " units"]
    tally: Tally
    tops: Tops
    far_fewer: Bool[Tensor, " units"] | None = None
    grades: Float[Tensor, "units levels"] | None = None
    graded: Graded | None = None
    numbers: Ranges = ()
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        counted = f"units={len(self.levels)}, concepts={len(self.concepts)}, images={int(self.tally.images)}"
        return f"<Dissection of {self.view}: {counted}>"

    def _repr_html_(self) -> str:
        return render(TEMPLATE, dissection=self, best=self.scores.units_of())

    @property
    def scores(self) -> Scores:
        """The agreement of units and concepts."""
        return Scores(self.tally, self.concepts)

    def __add__(self, other: "Dissection") -> "Dissection":
        """Two parts as one.

        Raises:
            ValueError: They are not of the same units at the same levels, or share images.
        """
        same = (self.view, self.concepts, self.identity) == (other.view, other.concepts, other.identity)
        if not same or not torch.equal(self.levels, other.levels):
            raise ValueError("parts of a dissection must be of one model, layer, source and level")
        shared = [ours for ours in self.numbers for their in other.numbers if ours[0] < their[1] and their[0] < ours[1]]
        if shared:
            raise ValueError(f"parts of a dissection must not share images, both hold image {shared[0][0]} or near it")
        return replace(
            self,
            tally=self.tally + other.tally,
            tops=self.tops + other.tops,
            graded=None if self.graded is None or other.graded is None else self.graded + other.graded,
            numbers=meeting(sorted(self.numbers + other.numbers)),
        )

    def informative(self) -> Informative | None:
        """The most informative level of each unit and concept; None where none was looked for."""
        return None if self.graded is None or self.grades is None else self.graded.informative(self.grades)

    def emptied(self) -> "Dissection":
        """The same before any image was counted."""
        units, concepts = len(self.levels), len(self.concepts)
        return replace(
            self,
            tally=Tally.empty(units, self.concepts),
            tops=Tops.empty(units),
            graded=None if self.graded is None else Graded.empty(units, concepts),
            numbers=(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All numbers by name."""
        found = {f"tally.{name}": tensor for name, tensor in self.tally.tensors().items()}
        found |= {"levels": self.levels, "tops.peaks": self.tops.peaks, "tops.numbers": self.tops.numbers}
        if self.far_fewer is not None:
            found["far_fewer"] = self.far_fewer
        if self.graded is not None and self.grades is not None:
            found |= {"grades": self.grades, "graded": self.graded.counts}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], **about: Any) -> "Dissection":
        """The inverse of `tensors`, with the other attributes."""
        tally = {name.removeprefix("tally."): each for name, each in tensors.items() if name.startswith("tally.")}
        return cls(
            levels=tensors["levels"],
            tally=Tally.from_tensors(tally),
            tops=Tops(tensors["tops.peaks"], tensors["tops.numbers"]),
            far_fewer=tensors.get("far_fewer"),
            grades=tensors.get("grades"),
            graded=Graded(tensors["graded"]) if "graded" in tensors else None,
            **about,
        )


def save_dissections(path: str | Path, run: Mapping[str, Dissection]) -> None:
    """Write the dissections of several views that were made together."""
    first = next(iter(run.values()))
    about = {**about_of(run, first.concepts), "identity": dict(first.identity)}
    ledger.write(path, KIND, {UNITS: Stage(tensors_of(run), first.numbers)}, about)


def load_dissections(path: str | Path) -> dict[str, Dissection]:
    """Read what `save_dissections` wrote.

    Args:
        path: The file, or `towers` for the one that comes with the built-in generator.

    Returns:
        The dissections, by view.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds something else.
    """
    path = BUILT_IN.get(str(path), path)
    if is_of_first_version(path):
        tensors, about = files.load_tensors(path, KIND)
        stage = Stage(tensors, about.get("numbers", ()))
    else:
        stages, about = ledger.read(path, KIND)
        stage = stages.get(UNITS, Stage({}))
    try:
        return dissections_of(stage, about)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is a damaged dissection: {lacking(error)}") from None


def describe(path: str | Path) -> dict[str, Any]:
    """What `rewrite inspect` says of a file of dissections."""
    run = load_dissections(path)
    first = next(iter(run.values()))
    return {
        "images": int(first.tally.images),
        **{name: first.identity.get(name) for name in ("model", "source", "truncation")},
        "concepts": list(first.concepts.names),
        "layers": {
            view: f"{len(one.levels)} units, {int(one.scores.detects().sum())} detect a concept"
            for view, one in run.items()
        },
    }


def is_of_first_version(path: str | Path) -> bool:
    """Whether a dissection was written by version 0.1, which knew no stages."""
    kind, about = files.read_header(path)
    return kind == KIND and "done" not in about


def about_of(views: Iterable[str], concepts: Concepts) -> dict[str, Any]:
    """What the header of a file says of its tensors."""
    return {"views": list(views), "names": concepts.names, "categories": concepts.categories}


def tensors_of(run: Mapping[str, Dissection]) -> dict[str, Tensor]:
    """The numbers of all views by name."""
    return {f"{i}.{name}": each for i, one in enumerate(run.values()) for name, each in one.tensors().items()}


def dissections_of(stage: Stage, about: Mapping[str, Any]) -> dict[str, Dissection]:
    """The inverse of `tensors_of` and `about_of`.

    Raises:
        KeyError, TypeError, ValueError: The numbers are not those of dissections.
    """
    if isinstance(stage.images, int):
        raise ValueError("it does not say which images it holds")
    if not isinstance(about["identity"], dict) or not about["views"]:
        raise ValueError("it does not say what it is of")
    if not all(isinstance(text, str) for name in ("views", "names", "categories") for text in about[name]):
        raise ValueError("views, concepts and their categories have names")
    shared = {
        "concepts": Concepts(tuple(about["names"]), tuple(about["categories"])),
        "numbers": tuple((int(start), int(stop)) for start, stop in stage.images),
        "identity": about["identity"],
    }
    return {
        view: Dissection.from_tensors(_of_view(stage.tensors, i), view=view, **shared)
        for i, view in enumerate(about["views"])
    }


def _of_view(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    start = f"{number}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
