"""The paintings of a browser session: the strokes on images, by model, layer and seed. No Gradio in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from apps.editor.model import Model
from apps.editor.units import dissections
from dissect.causes.painting import Painting

MOST_PAINTINGS = 32
FIRST_SEED = 3


@dataclass
class Paintings:
    """The paintings of one browser session. Only handlers that run one at a time change it.

    Attributes:
        seed: The image on the easel.
        layer: The layer whose units are used; empty if none is dissected.
        edited: Whether the active rules are applied.
        paintings: The paintings so far, by model, layer and seed.
        turn: The last request of the page that was carried out.
    """

    seed: int = FIRST_SEED
    layer: str = ""
    edited: bool = True
    paintings: dict[tuple[str, str, int], Painting] = field(default_factory=dict)
    turn: int = 0

    def painting(self, model: Model) -> Painting:
        """The painting on the easel."""
        drawn = {"truncation": model.generator.truncation, "label": model.generator.label}
        fresh = Painting(model.fingerprint, self.layer, self.seed, **drawn)
        return self.paintings.get((fresh.model, self.layer, self.seed), fresh)

    def keep(self, painting: Painting) -> None:
        """Keep a painting as the latest, and drop the oldest beyond `MOST_PAINTINGS`."""
        key = painting.model, painting.layer, painting.seed
        self.paintings.pop(key, None)
        self.paintings[key] = painting
        while len(self.paintings) > MOST_PAINTINGS:
            self.paintings.pop(next(iter(self.paintings)))

    def restore(self, paintings: Iterable[Painting]) -> None:
        """Keep the paintings of an earlier session."""
        for painting in paintings:
            self.keep(painting)

    def settle(self, model: Model) -> Sequence[str]:
        """Make sure that the layer is a dissected one; returns all of these."""
        known = list(dissections(model))
        if self.layer not in known:
            self.layer = next(iter(known), "")
        return known
