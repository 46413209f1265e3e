"""Side effects of patches: forecast, measured on unseen seeds, and held against what the rules expect."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rewrite.generators.batches import in_batches
from rewrite.generators.classes import Label, marked
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents, numbered
from rewrite.goals.cache import Goals
from rewrite.patch import Patch, Stack, held_at
from rewrite.reports.aims import CLEAR, Aim
from rewrite.reports.concepts import ConceptSource
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
from rewrite.reports.effect import (
    MOVED,
    Applied,
    Effect,
    before_and_after,
    measure_effect,
)
from rewrite.reports.page import page, summary
from rewrite.reports.perceptual import SMALLEST_SIDE, Perceptual
from rewrite.reports.pictures import Pair, before_after, change_map, png, to_pil
from rewrite.reports.places import Places, measure_places
from rewrite.reports.verdict import Expectation, Verdict, expectations
from rewrite.rules.rule import Rule
from rewrite.storage import files
from rewrite.version import __version__

SCHEMA = "rewrite-report/1"
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


def report_on(
    generator: Generator,
    patches: Patch | Sequence[Patch],
    *,
    strengths: Sequence[float] | None = None,
    seeds: Iterable[int] | Latents | None = None,
    source: ConceptSource | None = None,
    perceptual: Perceptual | None = None,
    goals: Goals | None = None,
    progress: bool = False,
) -> Report:
    """Measure what patches do, together, and hold it against what their rules expect.

    Args:
        generator: The generator without the patches.
        patches: The patch or patches.
        strengths: The strength of each; 1 if left out.
        seeds: The images to measure on, or latents; the first 200 seeds that no rule uses if left out.
        source: What names the pixels, so that an edit is counted by concept.
        perceptual: LPIPS, from `rewrite.load_perceptual`.
        goals: Goals built before, as by `solve`.
        progress: Show a progress bar.

    Returns:
        The report; `save` writes it into a folder.

    Raises:
        LookupError: The generator has no such layer, or the source no such concept.
        ValueError: A patch is of another weight, rules are of several truncations, or strengths or seeds do not fit.
    """
    held = held_at(patches, strengths)
    if not held:
        raise ValueError("a report needs at least one patch, got none")
    rules = tuple(Rule.from_json(text) for text in dict.fromkeys(rule for patch, _ in held for rule in patch.rules))
    common_truncation(rules)
    aims, notes = {} if source is None else _aims(rules, source), list[str]()
    applied: Applied = partial(Stack(generator).holding, held)
    perceptual = _usable(perceptual, generator, notes)
    seeds = unseen_seeds(rules) if seeds is None else seeds if isinstance(seeds, Latents) else tuple(seeds)
    effect = measure_effect(
        generator, applied, seeds, source=source, aims=list(aims.values()), perceptual=perceptual, progress=progress
    )
    places = _places(generator, applied, rules, goals, perceptual, notes)
    verdict = Verdict.of(rules, aims, effect, places)
    return Report(
        rules=rules,
        patches=held,
        model=generator.fingerprint,
        truncation=generator.truncation,
        label=generator.label,
        verdict=verdict,
        expectations=expectations(rules, verdict),
        effect=effect,
        concepts=() if source is None else source.concepts.names,
        places=places,
        trunk=None if perceptual is None else perceptual.name,
        shown=_shown(generator, applied, seeds, effect.seeds[:SHOWN]),
        worst=_shown(generator, applied, seeds, worst_seeds(effect)),
        notes=tuple(notes),
    )


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


def _aims(rules: Sequence[Rule], source: ConceptSource) -> dict[int, Aim]:
    return {i: Aim.of(rule.name, rule.effect, source.concepts) for i, rule in enumerate(rules) if rule.effect}


def _usable(perceptual: Perceptual | None, generator: Generator, notes: list[str]) -> Perceptual | None:
    if perceptual is None:
        notes.append("LPIPS was not measured: no weights of a trunk were named, or found in torch's hub cache.")
    elif min(generator.size) < SMALLEST_SIDE:
        notes.append(f"LPIPS was not measured: it needs images of at least {SMALLEST_SIDE} pixels a side.")
        return None
    return perceptual


def _places(
    generator: Generator,
    applied: Applied,
    rules: Sequence[Rule],
    goals: Goals | None,
    perceptual: Perceptual | None,
    notes: list[str],
) -> dict[int, Places]:
    found = {}
    for number, rule in enumerate(rules):
        if rule.model != generator.fingerprint:
            notes.append(f"The places of rule {rule.name!r} were not measured: it was written on another model.")
        elif rule.truncation != generator.truncation:
            notes.append(f"The places of rule {rule.name!r} were not measured: it was written at another truncation.")
        else:
            found[number] = measure_places(generator, applied, rule, goals=goals, perceptual=perceptual)
    return found


def _shown(
    generator: Generator, applied: Applied, seeds: Iterable[int] | Latents, chosen: tuple[int, ...]
) -> tuple[Pair, ...]:
    _, latents = numbered(seeds, generator.latents)
    run = in_batches(chosen, max(1, len(chosen)), lambda part: before_and_after(generator, applied, latents(part)))
    drawn = ((part, *map(to_pil, sides)) for part, sides in run)
    word = "latent" if isinstance(seeds, Latents) else "seed"
    return tuple(Pair(f"{word} {number}", *pair) for each in drawn for number, *pair in zip(*each, strict=True))


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
    """Read the report.json that `Report.save` wrote.

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
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f'{path} is not a report: it does not say "schema": "{SCHEMA}"')
    return document
