"""A rule of a classifier becomes numbers: the keys of its pictures, and the values that they are to give."""

import torch
from jaxtyping import Int
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.rule import ClassifierRule, Pictures, images_of
from rewrite.generators.layers import Layer
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys

# Of the largest change of a value: what moves less is the same place in both pictures.
SAME = 1e-6


@torch.no_grad()
def goal_of(classifier: Classifier, rule: ClassifierRule) -> Goal:
    """What a rule wants of its layer. Pair i is image i of the goal; the pictures that are kept follow.

    Positions at which both pictures of a pair give the same value are to keep it, and so are all positions of the
    pictures whose values are wanted.

    Raises:
        ValueError: The rule was written on another model, or the layer writes the same for both pictures of all pairs.
    """
    if rule.model != classifier.fingerprint:
        raise ValueError(f"this rule was written on model {rule.model}, not on model {classifier.fingerprint}")
    layer, pairs = classifier.layer(rule.layer), torch.arange(len(rule.keys))
    before, wanted = _read(classifier, layer, rule.keys, pairs), _read(classifier, layer, rule.values, pairs)
    kept = _read(classifier, layer, rule.keep, len(pairs) + torch.arange(len(rule.keep)))
    change = (wanted.values - before.values).abs().amax(dim=1)
    moved = change > SAME * wanted.values.abs().max()
    if not moved.any():
        raise ValueError(f"layer {rule.layer} writes the same for both pictures of every pair: take a later one")
    asked = _weighted(before.where(moved), 1.0)
    others = _weighted(Keys.joined([before.where(~moved), wanted]), rule.settings.others)
    return Goal(
        wanted=asked,
        targets=torch.lerp(before.values, wanted.values, rule.settings.reach)[moved],
        others=others,
        protected=_weighted(kept, 1.0),
        context=asked.keys,
        styles=torch.zeros(len(rule.keys) + len(rule.keep), 0, dtype=torch.float64),
    )


def _read(classifier: Classifier, layer: Layer, pictures: Pictures, numbers: Int[Tensor, " pictures"]) -> Keys:
    """The keys of all positions of pictures, and what the layer writes for them."""
    places = layer.output_grid[0] * layer.output_grid[1]
    if not len(pictures):
        keys = torch.zeros(0, layer.width, dtype=torch.float64)
    else:
        keys = layer.keys(classifier.cut(layer.name, images_of(pictures)).features).flatten(0, 1).cpu().double()
    values = layer.values(keys, layer.matrix(classifier.weight(layer.name)).detach().cpu().double())
    return Keys(
        keys=keys,
        values=values,
        weights=torch.ones(len(keys), dtype=torch.float64),
        image=numbers.repeat_interleave(places),
        offsets=torch.zeros_like(values),
        position=torch.arange(places).repeat(len(pictures)),
    )


def _weighted(keys: Keys, weight: float) -> Keys:
    """The same keys, whose weights add up to this."""
    shared = torch.full_like(keys.weights, weight / max(len(keys), 1))
    return Keys(keys.keys, keys.values, shared, keys.image, keys.offsets, keys.position)
