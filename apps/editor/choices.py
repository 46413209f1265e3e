"""The options of a rule beside its marks, and the solver's settings that follow from them."""

from dataclasses import dataclass, replace

from rewrite import Settings
from rewrite.rules.settings import CHOSEN

ACTIONS = ("paste", "erase")
MOST_RANK = 512
MOST_CAUTION = 1.5


@dataclass(frozen=True)
class Choices:
    """The options of a rule beside its marks.

    Attributes:
        action: `paste`, or `erase`: what surrounds the marks goes in their place.
        layer: Where the rule is solved, or None for the usual layer.
        rank: Number of directions, or None for no limit.
        caution: Power of ten by which the weights against changes elsewhere that the marks chose are raised.
        refine: Whether copied values are adjusted until the image itself shows the copy.
    """

    action: str = "paste"
    layer: str | None = None
    rank: int | None = None
    caution: float = 0.0
    refine: bool = True

    def __post_init__(self):
        if self.action not in ACTIONS:
            raise ValueError(f"the action is one of {', '.join(ACTIONS)}")
        if self.rank is not None and not 1 <= self.rank <= MOST_RANK:
            raise ValueError(f"the rank lies between 1 and {MOST_RANK}, got {self.rank}")
        if not abs(self.caution) <= MOST_CAUTION:
            raise ValueError(f"caution lies between -{MOST_CAUTION:g} and {MOST_CAUTION:g}, got {self.caution}")

    @property
    def settings(self) -> Settings:
        """The solver's settings: the marks choose its weights. Caution is left to those who solve; see `Work.solve`."""
        usual = Settings.from_marks()
        return replace(usual, rank=self.rank, refine=usual.refine if self.refine else 0)


def careful(settings: Settings, caution: float) -> Settings:
    """Settings whose weights against changes elsewhere are multiplied by 10 to the power of `caution`."""
    more = 10.0**caution
    return replace(settings, **{name: getattr(settings, name) * more for name in CHOSEN})
