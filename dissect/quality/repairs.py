"""Two ways to be rid of what somebody marked in a few images, and which of them does better on other images.

Either the units that draw it go off, or the layer writes what surrounds the marks in their place: a rule that erases.
Both are patches. Marks say where images are bad; whether images are better afterwards is told by their Fréchet
distance from good ones, on images that nothing was marked or chosen on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dissect.causes.ablation import ablation_patch
from dissect.quality.artifacts import BATCH, Artifacts
from dissect.quality.table import Table, tabulate
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of
from rewrite.memory.memory import Memory
from rewrite.patch import Patch
from rewrite.rules.regions import Region
from rewrite.rules.rule import Rule
from rewrite.solvers.solving import solve

UNITS, RULE = "units", "rule"
BEFORE = "before"


@dataclass(frozen=True)
class Repair:
    """One way to be rid of what is marked.

    Attributes:
        kind: `units` are off, or a `rule` erases.
        patch: It as a patch.
        units: The units that are off.
        rule: The rule that erases.
    """

    kind: str
    patch: Patch
    units: tuple[int, ...] = ()
    rule: Rule | None = None


def without_units(generator: Generator, layer: str, units: Sequence[int]) -> Repair:
    """Units off."""
    return Repair(UNITS, ablation_patch(generator, layer, units, seeds=(), name="artifacts"), tuple(units))


def erased(generator: Generator, memory: Memory, rule: Rule) -> Repair:
    """A rule that erases, solved."""
    return Repair(RULE, solve(generator, memory, rule), rule=rule)


def erasing_rule(generator: Generator, layer: str, regions: Sequence[Region], name: str = "artifacts") -> Rule:
    """The marks as a rule: the layer is to write what surrounds them.

    Raises:
        ValueError: There are no marks.
    """
    return Rule(
        name=name,
        model=generator.fingerprint,
        layer=layer,
        context=tuple(regions),
        action="erase",
        anchor="bottom",
        truncation=generator.truncation,
        label=generator.label,
    )


def features_with(
    artifacts: Artifacts,
    patches: Mapping[str, Patch],
    seeds: Sequence[int],
    *,
    state: Path | None = None,
    progress: bool = False,
) -> Table:
    """The features of images as they are, in the column `before`, and with each of some patches alone.

    Args:
        artifacts: The generator, and what sees its images.
        patches: The patches by name.
        seeds: The images.
        state: A file that keeps the table while it grows.
        progress: Show a progress bar.
    """
    generator, space = artifacts.generator, artifacts.space

    def seen(shard: Sequence[int]) -> torch.Tensor:
        return torch.cat([space.vectors(generator.sample(part)) for part in batched(shard, BATCH)])

    def measure(shard: Sequence[int]) -> dict[str, torch.Tensor]:
        found = {BEFORE: seen(shard)}
        for name, patch in patches.items():
            with patch.applied(generator):
                found[name] = seen(shard)
        return found

    identity = {**artifacts.identity, "patches": {name: _hash(patch) for name, patch in patches.items()}}
    return tabulate(seeds, measure, identity, stage="test", state=state, progress=progress)


def best_first(artifacts: Artifacts, repairs: Sequence[Repair], seeds: Sequence[int]) -> list[tuple[Repair, float]]:
    """Repairs with the fall of the distance that each brings on some images, the greatest first.

    Args:
        artifacts: The generator, and the good images.
        repairs: At most one of each kind.
        seeds: Images that nothing was marked or chosen on.
    """
    seen = features_with(artifacts, {each.kind: each.patch for each in repairs}, seeds)
    before = artifacts.distance(seen[BEFORE])
    falls = [(each, before - artifacts.distance(seen[each.kind])) for each in repairs]
    return sorted(falls, key=lambda found: -found[1])


def _hash(patch: Patch) -> str:
    bias = {} if patch.bias is None else {"bias": patch.bias}
    return hash_of({"left": patch.left, "right": patch.right, **bias})
