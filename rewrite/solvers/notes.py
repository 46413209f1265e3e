"""What a reader should know of an answer beside its numbers."""

from collections.abc import Sequence

from rewrite.generators.contract import Generator
from rewrite.generators.probing import normalised_after
from rewrite.rules.rule import Rule

NORMALISED = (
    "a normalisation follows layer {}: values at the layer are not what the image shows; set refine to 10 or more"
)


def notes_on(generator: Generator, rules: Sequence[Rule]) -> list[str]:
    """Notes on the answer to rules of one layer, one sentence each."""
    layer = rules[0].layer
    # The networks whose layers are modulated are known, and normalise nothing afterwards.
    asked = any(rule.settings.refine == 0 for rule in rules) and not generator.layer(layer).modulated
    return [NORMALISED.format(layer)] if asked and normalised_after(generator, layer) else []
