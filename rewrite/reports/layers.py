"""At which layer a rule is solved best: layers are compared by marked images that are left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewrite.generators.contract import Generator
from rewrite.generators.layers import Layer
from rewrite.goals.goal import check_origin
from rewrite.goals.scene import LEAST_COVER
from rewrite.memory import measure
from rewrite.patch import Patch
from rewrite.progress import in_stage
from rewrite.rules.masks import cover
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings
from rewrite.solvers.choice import LEAST_IMAGES
from rewrite.solvers.leave_out import worth_of
from rewrite.solvers.solving import solve

SAMPLES = 200
# A memory of fewer positions than this for each number of a key says little of what a layer usually reads.
ENOUGH = 4
# Layers of fewer outputs write colours.
LEAST_OUTPUTS = 5


@dataclass(frozen=True)
class ProposedLayer:
    """A rule at one layer.

    Attributes:
        layer: The layer.
        patch: The rule solved there on a small memory, by the closed form alone.
        scarce: Whether the memory is too small for the layer's keys, so that what it says is rough.
    """

    layer: str
    patch: Patch
    scarce: bool

    def __repr__(self) -> str:
        return f"<ProposedLayer {self.layer}: arrives={self.arrives:.3f}, beside={self.beside:.3f}>"

    @property
    def left_out(self) -> dict[str, Any]:
        """What the patch's forecast expects at unmarked places."""
        return self.patch.forecast["left_out"]

    @property
    def arrives(self) -> float:
        """Share of the wanted change that arrives in images left out: in the image, or at a layer without pictures."""
        drawn = self.left_out["drawn"]
        return self.left_out["arrives"] if drawn is None else drawn["arrives"]

    @property
    def beside(self) -> float:
        """What changes beside it: root of the mean square for images in [-1, 1], or relative at the layer."""
        drawn = self.left_out["drawn"]
        return self.left_out["beside"] if drawn is None else drawn["strays"]

    @property
    def drawn(self) -> bool:
        """Whether it was judged by pictures; a layer that was not is not compared with those that were."""
        return self.left_out["drawn"] is not None

    @property
    def worth(self) -> float:
        """What arrives for what changes beside it."""
        return worth_of(self.arrives, self.beside)


def propose_layers(
    generator: Generator,
    rule: Rule,
    layers: Sequence[str] | None = None,
    *,
    samples: int = SAMPLES,
    progress: bool = False,
) -> list[ProposedLayer]:
    """Solve a rule at several layers, and say what would arrive at each in marked images that had not been marked.

    Args:
        generator: The generator that the rule was written on.
        rule: The rule; its own layer, settings and protected units do not count.
        layers: The layers to try; all that write more than colours if left out.
        samples: Images of each layer's memory.
        progress: Show a progress bar.

    Returns:
        The layers where the rule has a place, the best first.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: Too few images are marked to leave one out, or the rule was written on another model.
    """
    usual = [name for name, layer in generator.layers.items() if layer.outputs >= LEAST_OUTPUTS and _meets(rule, layer)]
    names = usual if layers is None else [generator.layer(name).name for name in layers]
    check_origin(generator, rule)
    images = len({place.latent for place in rule.places})
    if images < LEAST_IMAGES:
        raise ValueError(
            f"layers are compared by marked images that are left out: mark at least {LEAST_IMAGES} images, got {images}"
        )
    tried = _tried(generator, rule, in_stage(names, "layers", "layer", shown=progress), samples)
    return sorted(tried, key=lambda found: (not found.drawn, -found.worth))


def _meets(rule: Rule, layer: Layer) -> bool:
    """Whether places of at least three images cover cells of a layer; marks may be too small for a coarse one."""
    met = {place.latent for place in rule.places if (cover(place.mask.array(), layer) > LEAST_COVER).any()}
    return len(met) >= LEAST_IMAGES


def _tried(generator: Generator, rule: Rule, names: Iterable[str], samples: int) -> Iterator[ProposedLayer]:
    settings = replace(Settings.from_marks(), finish=0, descent=0)
    for name in names:
        layer = generator.layer(name)
        asked = replace(rule, layer=name, protect_units=(), settings=settings)
        memory = measure(generator, name, samples)
        patch = solve(generator, memory, asked)
        if patch.forecast["left_out"] is not None:
            cells = layer.output_grid[0] * layer.output_grid[1]
            yield ProposedLayer(name, patch, samples * cells < ENOUGH * layer.width)
