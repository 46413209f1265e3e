"""Marks: regions of a generator's images that somebody brushed, as a document of their own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewrite.generators.classes import Label
from rewrite.generators.contract import Generator
from rewrite.rules.documents import OF_GENERATOR, document_in, loaded
from rewrite.rules.entries import number, only, require, typed
from rewrite.rules.regions import Latent, Region, region_document, regions_from
from rewrite.rules.rule import LARGEST_FILE, MOST_REGIONS, Rule, label_from
from rewrite.storage import files

SCHEMA = "rewrite-marks/1"


@dataclass(frozen=True)
class Marks:
    """Regions of a generator's own images.

    Attributes:
        model: Fingerprint of the generator that drew the images.
        regions: The brushed regions.
        truncation: Of the latents.
        label: The class that the images are drawn of, as in rules.

    Raises:
        ValueError: There is no region, there are too many, or a number is out of range.
    """

    model: str
    regions: tuple[Region, ...]
    truncation: float = 1.0
    label: Label = 0

    def __post_init__(self) -> None:
        require(1 <= len(self.regions) <= MOST_REGIONS, f"marks have 1 to {MOST_REGIONS} regions", len(self.regions))
        require(0 <= self.truncation <= 2, "truncation lies between 0 and 2", self.truncation)

    def __repr__(self) -> str:
        return f"<Marks: regions={len(self.regions)}, images={len(self.images)}, model={self.model}>"

    @property
    def images(self) -> tuple[Latent, ...]:
        """The images that have marks, each once."""
        return tuple(dict.fromkeys(region.latent for region in self.regions))

    def check(self, generator: Generator) -> None:
        """Refuse a generator that did not draw these images.

        Raises:
            ValueError: It is another one, or a mask was not drawn on its images.
        """
        if generator.fingerprint != self.model:
            raise ValueError(f"these marks are on images of model {self.model}, not of model {generator.fingerprint}")
        if generator.truncation != self.truncation:
            raise ValueError(
                f"these marks are on images of truncation {self.truncation:g}, not {generator.truncation:g}"
            )
        for region in self.regions:
            region.mask.check_size(generator.size)

    def to_json(self) -> str:
        """The marks as a document, one region on a line."""
        regions = ",\n  ".join(json.dumps(region_document(region)) for region in self.regions)
        head: dict[str, Any] = {"schema": SCHEMA, "model": self.model, "truncation": self.truncation}
        if self.label != 0:
            head["label"] = self.label  # which most generators know nothing of
        entries = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items())
        return f'{{\n{entries},\n "regions": [\n  {regions}\n ]\n}}\n'

    def save(self, path: str | Path) -> None:
        """Write the marks as a JSON file.

        Raises:
            ValueError: The file cannot be written.
        """
        files.write_text(path, self.to_json())

    @classmethod
    def from_json(cls, text: str) -> "Marks":
        """Read marks, or the places of a rule.

        Raises:
            ValueError: It is neither; the message says what is wrong.
        """
        document = document_in(text, SCHEMA, OF_GENERATOR)
        if document["schema"] == OF_GENERATOR:
            rule = Rule.from_json(text)
            return cls(rule.model, rule.places, rule.truncation, rule.label)
        return _marks(document)

    @classmethod
    def load(cls, path: str | Path) -> "Marks":
        """Read a file of marks, or a rule, whose places are taken.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is neither; the message says what is wrong.
        """
        return loaded(path, cls.from_json, called="a file of marks", wrong="holds no valid marks", most=LARGEST_FILE)


def _marks(document: Mapping[str, Any]) -> Marks:
    only(dict(document), {"schema", "model", "truncation", "label", "regions"}, "marks")
    return Marks(
        model=typed(document.get("model"), str, "model"),
        regions=regions_from(dict(document), "regions"),
        truncation=number(document.get("truncation", 1.0), "truncation"),
        label=label_from(document.get("label", 0)),
    )
