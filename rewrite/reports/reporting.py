"""Measuring a report: what patches do on unseen seeds, and on the images of their rules."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from rewrite.generators.batches import in_batches
from rewrite.generators.classes import marked
from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.latents import Latents, numbered
from rewrite.goals.cache import Goals
from rewrite.patch import Patch, Stack, held_at
from rewrite.reports.aims import Aim
from rewrite.reports.concepts import ConceptSource
from rewrite.reports.document import patch_hash
from rewrite.reports.effect import BATCH, Applied, Comparison, before_and_after
from rewrite.reports.perceptual import SMALLEST_SIDE, Perceptual
from rewrite.reports.pictures import Pair, to_pil
from rewrite.reports.places import Places, measure_places
from rewrite.reports.report import SHOWN, Report, common_truncation, unseen_seeds, worst_seeds
from rewrite.reports.verdict import Verdict, expectations
from rewrite.rules.rule import Rule
from rewrite.storage.ledger import Ledger
from rewrite.version import __version__


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
    measured = {"strengths": strengths, "seeds": seeds, "source": source, "perceptual": perceptual, "goals": goals}
    return Reporting(generator, patches, **measured).report(Ledger(progress=progress))


class Reporting:
    """A report that can be ended and gone on with. See `report_on`."""

    def __init__(
        self,
        generator: Generator,
        patches: Patch | Sequence[Patch],
        *,
        strengths: Sequence[float] | None = None,
        seeds: Iterable[int] | Latents | None = None,
        source: ConceptSource | None = None,
        perceptual: Perceptual | None = None,
        goals: Goals | None = None,
    ):
        self.generator, self.held, self.source, self.goals = generator, held_at(patches, strengths), source, goals
        if not self.held:
            raise ValueError("a report needs at least one patch, got none")
        texts = dict.fromkeys(rule for patch, _ in self.held for rule in patch.rules)
        self.rules = tuple(Rule.from_json(text) for text in texts)
        common_truncation(self.rules)
        self.aims, self.notes = {} if source is None else _aims(self.rules, source), list[str]()
        self.perceptual = _usable(perceptual, generator, self.notes)
        self.seeds = (
            unseen_seeds(self.rules) if seeds is None else seeds if isinstance(seeds, Latents) else tuple(seeds)
        )
        self.applied: Applied = partial(Stack(generator).holding, self.held)

    @property
    def identity(self) -> dict[str, Any]:
        """What the comparison of images depends on."""
        generator = self.generator
        return {
            "model": generator.fingerprint,
            "truncation": generator.truncation,
            **marked(generator.label),
            "noise": generator.noise,
            "patches": [[patch.layer, patch_hash(patch), strength] for patch, strength in self.held],
            "rules": [rule.effect for rule in self.rules],
            "latents": _latents_hash(self.seeds),
            "source": None if self.source is None else self.source.identity,
            "perceptual": None if self.perceptual is None else self.perceptual.name,
            "batch": BATCH,
            "library": __version__,
        }

    def report(self, ledger: Ledger) -> Report:
        """Compare the images that the ledger lacks, and everything else.

        Raises:
            LookupError, ValueError: See `report_on`; or the ledger holds other images.
        """
        generator, applied, notes = self.generator, self.applied, list(self.notes)
        comparison = Comparison(generator, applied, self.source, tuple(self.aims.values()), self.perceptual)
        effect = comparison.effect(self.seeds, ledger)
        places = _places(generator, applied, self.rules, self.goals, self.perceptual, notes)
        verdict = Verdict.of(self.rules, self.aims, effect, places)
        return Report(
            rules=self.rules,
            patches=self.held,
            model=generator.fingerprint,
            truncation=generator.truncation,
            label=generator.label,
            verdict=verdict,
            expectations=expectations(self.rules, verdict),
            effect=effect,
            concepts=() if self.source is None else self.source.concepts.names,
            places=places,
            trunk=None if self.perceptual is None else self.perceptual.name,
            shown=_shown(generator, applied, self.seeds, effect.seeds[:SHOWN]),
            worst=_shown(generator, applied, self.seeds, worst_seeds(effect)),
            notes=tuple(notes),
        )


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


def _latents_hash(images: Sequence[int] | Latents) -> str | None:
    """What tells given latents from others; seeds are told by the ledger itself."""
    if not isinstance(images, Latents):
        return None
    return hash_of({"z": images.z, **({} if images.w is None else {"w": images.w})})
