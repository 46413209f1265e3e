"""What a person may choose beside the marks, and the solver's settings that follow from it."""

from dataclasses import dataclass, replace

from rewrite import Settings

# Of the settings tried on four and on nine marked images, the ones that drew the copy most often for the least change
# elsewhere: fewer marks than a rule from concepts has, so that they weigh more.
SETTINGS = Settings(damage=0.003, drift=0.003, others=3.0, refine=10)
ACTIONS = ("paste", "erase")
MOST_RANK = 512
MOST_CAUTION = 1.5


@dataclass(frozen=True)
class Choices:
    """What a person may choose beside the marks.

    Attributes:
        action: `paste`, or `erase`: what surrounds the marks goes in their place.
        layer: Where the rule is solved, or None for the usual layer.
        rank: Number of directions, or None for as many as the marks ask for.
        caution: How much more what changes elsewhere weighs than usual, as a power of ten.
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
        """The settings of a rule."""
        refine = SETTINGS.refine if self.refine else 0
        return careful(replace(SETTINGS, rank=self.rank, refine=refine), self.caution)


def careful(settings: Settings, caution: float) -> Settings:
    """Settings with everything that speaks against a change weighed more, or less, by a power of ten."""
    more = 10.0**caution
    return replace(settings, damage=settings.damage * more, drift=settings.drift * more, others=settings.others * more)
