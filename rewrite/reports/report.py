"""Side effects of patches: forecast, measured on unseen seeds, and held against what the rules expect."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rewrite.generators.classes import Label, marked
from rewrite.goals.pasted import MOVED
from rewrite.patch import Patch
from rewrite.reports.aims import CLEAR
from rewrite.reports.document import (
    ends,
    image_document,
    look_document,
    movement_document,
    outside_document,
    patch_document,
    place_document,
    plain,
)
from rewrite.reports.effect import Effect
from rewrite.reports.page import page, summary
from rewrite.reports.pictures import Pair, before_after, change_map, png
from rewrite.reports.places import Places
from rewrite.reports.verdict import Expectation, Verdict
from rewrite.rules.rule import Rule
from rewrite.storage import files
from rewrite.version import __version__

SCHEMA = "rewrite-report/1"
OF_CLASSIFIER = "rewrite-classifier-report/1"
SCHEMAS = (SCHEMA, OF_CLASSIFIER)
SEEDS = 200
SHOWN = 16
WORST = 4


@dataclass(frozen=True)
class Report:
    """Everything that is known of the side effects of some patches.

    Attributes:
        rules: The rules that the patches answer.
        patches: The patches with their strengths.
        model: Fingerprint of the generator.
        truncation: Of the latents.
        label: The class that was drawn, or those of seeds.
        verdict: Efficacy and outside change, and how they were measured.
        expectations: What the rules expect of them.
        effect: What happened on unseen seeds.
        concepts: The names of the concepts that were counted; empty where nothing named the pixels.
        places: What happened on the images of each rule, by its number in `rules`.
        trunk: The trunk of LPIPS, if there was one.
        shown: Images of the first seeds.
        worst: Images with the most change outside.
        notes: What could not be measured, one sentence each.
    """

    rules: tuple[Rule, ...]
    patches: tuple[tuple[Patch, float], ...]
    model: str
    truncation: float
    label: Label
    verdict: Verdict
    expectations: tuple[Expectation, ...]
    effect: Effect
    concepts: tuple[str, ...]
    places: Mapping[int, Places]
    trunk: str | None
    shown: tuple[Pair, ...]
    worst: tuple[Pair, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        verdict = self.verdict
        efficacy = "unknown" if verdict.efficacy is None else f"{verdict.efficacy.value:.3f}"
        strict = "" if verdict.strict is None else f"strict={verdict.strict.value:.3f}, "
        figures = f"efficacy={efficacy}, {strict}outside={verdict.outside.value:.3f}, failed={len(self.failed)}"
        return f"<Report by {verdict.kind} on {len(self.effect.seeds)} images: {figures}>"

    def _repr_html_(self) -> str:
        return summary(self.document(), self._strip() if self.shown else None)

    @property
    def failed(self) -> tuple[Expectation, ...]:
        """The expectations that are not met."""
        return tuple(expectation for expectation in self.expectations if not expectation.met)

    def document(self) -> dict[str, Any]:
        """The report as plain numbers and texts; what could not be measured is None."""
        verdict, counts = self.verdict, self.effect.counts
        return plain(
            {
                "schema": SCHEMA,
                "library": __version__,
                "rules": [rule.name for rule in self.rules],
                "model": self.model,
                "truncation": self.truncation,
                **marked(self.label),
                "patches": [patch_document(patch, strength) for patch, strength in self.patches],
                "images": len(self.effect.seeds),
                "drawn_from": self.effect.drawn_from,
                "measured_by": verdict.kind,
                "efficacy": verdict.efficacy.value if verdict.efficacy else None,
                "efficacy_interval": ends(verdict.efficacy),
                **outside_document(verdict),
                "efficacy_by_rule": [found.document() if found else None for found in verdict.by_rule],
                "expectations": [{**asdict(each), "met": each.met} for each in self.expectations],
                "clear": None if counts is None else {"least": CLEAR, "share": counts.clear()},
                "transitions": [] if counts is None else counts.top_transitions(self.concepts),
                "colours": {"threshold": MOVED, **movement_document(self.effect.movement)},
                "lpips": None if self.trunk is None else {"trunk": self.trunk, **look_document(self.effect)},
                "places": [place_document(self.rules[number], found) for number, found in self.places.items()],
                "notes": list(self.notes),
                "per_image": [image_document(self.effect, number) for number in range(len(self.effect.seeds))],
            }
        )

    def save(self, folder: str | Path) -> None:
        """Write report.json, before-after.png and report.html into a folder: all of them, or none.

        Raises:
            ValueError: The folder cannot be written to.
        """
        document = self.document()
        contents = {
            "report.json": (json.dumps(document, indent=1, allow_nan=False) + "\n").encode(),
            "before-after.png": png(self._strip()),
            "report.html": page(document, self.shown, self.worst, change_map(self.effect.map)).encode(),
        }
        files.write_together(folder, contents)

    def _strip(self) -> Image.Image:
        """The images of the first seeds, before and after."""
        before, after = [pair.before for pair in self.shown], [pair.after for pair in self.shown]
        return before_after(before, after, [pair.caption for pair in self.shown])


def common_truncation(rules: Sequence[Rule]) -> float:
    """The truncation that some rules were written at; 1 without any rule.

    Raises:
        ValueError: It is not one for all: images of one truncation say nothing of rules for another.
    """
    found = sorted({rule.truncation for rule in rules}) or [1.0]
    if len(found) > 1:
        given = ", ".join(f"{truncation:g}" for truncation in found)
        raise ValueError(f"a report needs rules of one truncation, got {given}: report on the patches one by one")
    return found[0]


def unseen_seeds(rules: Sequence[Rule], count: int = SEEDS, first: int = 0) -> tuple[int, ...]:
    """The first seeds that no rule uses."""
    used = {region.latent.seed for rule in rules for region in (*rule.copy, *rule.places, *rule.protect)}
    return tuple(seed for seed in range(first, first + count + len(used)) if seed not in used)[:count]


def worst_seeds(effect: Effect, count: int = WORST) -> tuple[int, ...]:
    """The seeds with the most change outside: by concept, strictly counted, where that was measured, else by colour."""
    if effect.counts is None:
        amounts = effect.movement.moved
    else:
        amounts = effect.counts.strict_changed / np.maximum(effect.counts.strict_outside, 1)
    order = np.argsort(-amounts, kind="stable")[:count]
    return tuple(effect.seeds[number] for number in order.tolist() if amounts[number] > 0)


def is_report_of(document: Mapping[str, Any], model: str, held: Sequence[tuple[Patch, float]]) -> bool:
    """Whether what a report.json holds was measured on this model with exactly these patches at these strengths.

    Args:
        document: The report as plain numbers and texts.
        model: Fingerprint of the generator.
        held: The patches with their strengths, in the report's order.
    """
    patches = [plain(patch_document(patch, strength)) for patch, strength in held]
    return document.get("model") == model and document.get("patches") == json.loads(json.dumps(patches))


def load_report(path: str | Path) -> dict[str, Any]:
    """Read the report.json that a report on patches of a generator or classifier wrote.

    Args:
        path: The file, or its folder.

    Returns:
        What the file holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a report, or is damaged.
    """
    path = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
    document = files.read_json(path, "report")
    if not isinstance(document, dict) or document.get("schema") not in SCHEMAS:
        raise ValueError(f'{path} is not a report: it does not say "schema": "{SCHEMA}"')
    return document
