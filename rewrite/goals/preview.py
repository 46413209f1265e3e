"""What a rule wants, as images: the wanted values put in their places, before any weight is solved for."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.cache import Goals
from rewrite.goals.scene import latents_of, written_values
from rewrite.rules.regions import Latent
from rewrite.rules.rule import Rule


@torch.no_grad()
def preview(
    generator: Generator, rule: Rule, *, goals: Goals | None = None
) -> Mapping[Latent, Float[Tensor, "3 height width"]]:
    """The images of a rule's places with the values that the rule wants there: what a perfect patch would draw.

    Args:
        generator: The generator that the rule was written on.
        rule: The rule.
        goals: Goals built before, as by `solve`.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The rule was written on another model, or a mask does not fit.
    """
    goal, layer = (goals or Goals()).of(generator, rule), generator.layer(rule.layer)
    regions = (*rule.copy, *rule.places, *rule.protect)
    latents, wanted, images = list(dict.fromkeys(region.latent for region in regions)), goal.wanted, {}
    for number in wanted.image.unique().tolist():
        here = wanted.image == number
        cut = generator.cut(layer.name, latents_of(generator, [latents[number]]))
        values, factor = written_values(generator, layer, cut), generator.demodulation(layer.name, cut.style)
        values.flatten(2)[0, :, wanted.position[here]] = goal.targets[here].T.to(values)
        written = values if factor is None else values / factor[:, :, None, None]
        images[latents[number]] = generator.resume(layer.name, cut, written, factor)[0].clamp(-1, 1).cpu()
    return images
