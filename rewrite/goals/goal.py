"""A rule becomes numbers: the keys whose values are to change, their new values, and the keys that must not change."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.classes import said
from rewrite.generators.contract import Generator
from rewrite.goals.keys import Keys
from rewrite.goals.others import others_of
from rewrite.goals.scene import Scene
from rewrite.goals.sketch import sketched
from rewrite.goals.unedited import Unedited
from rewrite.goals.wanted import Wanted
from rewrite.goals.wishes import refined
from rewrite.rules.rule import Rule
from rewrite.storage.quoting import named


@dataclass(frozen=True)
class Goal:
    """What an edit of one layer is to achieve.

    Attributes:
        wanted: The keys of all places of the rule.
        targets: The values that they are to get, in the units of `wanted.values`.
        others: Keys of the same images away from the places (hard negatives); they are to keep their values.
        protected: Keys of protected regions; they are to keep their values.
        context: Keys under the marked context itself, which say when the rule fires.
        styles: The modulation of each image, empty for a plain layer.
        kept_units: Units whose values stay everywhere.
    """

    wanted: Keys
    targets: Float[Tensor, "n outputs"]
    others: Keys
    protected: Keys
    context: Float[Tensor, "m key"]
    styles: Float[Tensor, "images inputs"]
    kept_units: tuple[int, ...] = ()


def build_goal(generator: Generator, rule: Rule, unedited: Callable[[Generator], Unedited] = Unedited) -> Goal:
    """Run the generator up to the rule's layer and collect what the rule asks for.

    Args:
        generator: The generator.
        rule: The rule.
        unedited: Gives the pictures of the generator, or of its sketch, that were drawn before.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The rule was written on another model, or a mask does not fit.
    """
    layer = generator.layer(rule.layer)
    check_origin(generator, rule)
    beyond = [unit for unit in rule.protect_units if unit >= layer.outputs]
    if beyond:
        raise ValueError(f"layer {layer.name} has units 0 to {layer.outputs - 1}, unit {beyond[0]} is to be protected")
    regions = (*rule.copy, *rule.places, *rule.protect)
    for region in regions:
        region.mask.check_size(generator.size)
    scene = Scene.of(generator, layer, [region.latent for region in regions])
    wanted = [
        Wanted.erased(scene, place) if rule.action == "erase" else Wanted.pasted(scene, rule, place)
        for place in rule.goal_places
    ]
    wanted = [place for place in wanted if place.cells.any()]
    if not wanted:
        raise ValueError("the marked places cover no cell of this layer: mark more, or take a layer of a finer grid")
    if rule.settings.refine:
        drawing = sketched(generator, layer.name)
        wanted = refined(drawing, scene, rule, wanted, unedited(drawing))
    return Goal(
        wanted=scene.collect([(place.image, place.cells) for place in wanted], [place.share for place in wanted], 1.0),
        targets=torch.cat([place.targets for place in wanted]),
        others=others_of(scene, rule, wanted),
        protected=scene.collect([(scene.index(r.latent), scene.cells(r.mask)) for r in rule.protect], None, 1.0),
        context=scene.collect([(scene.index(r.latent), scene.cells(r.mask)) for r in rule.places], None, 1.0).keys,
        styles=scene.styles,
        kept_units=rule.protect_units,
    )


def check_origin(generator: Generator, rule: Rule) -> None:
    """Refuse a rule that was not written on this generator, as it is.

    Raises:
        ValueError: It was written on another model, or at another truncation.
    """
    if rule.model != generator.fingerprint:
        raise ValueError(f"this rule was written on model {named(rule.model)}, not on model {generator.fingerprint}")
    if rule.label != generator.label:
        drawn = said(generator.label)
        raise ValueError(f"this rule was written on class {said(rule.label)}, the generator draws class {drawn}")
    if rule.truncation != generator.truncation:
        raise ValueError(f"this rule was written at truncation {rule.truncation}, not {generator.truncation}")
