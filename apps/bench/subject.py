"""The generator that the lines are measured on, with the rules and memories that several of them need."""

from dataclasses import replace
from functools import cached_property

from apps.bench.marks import TASKS, Marks, rule_on
from apps.bench.peer import Peer
from dissect.concept_rule import usual_layer
from rewrite import Memory, Rule, Settings, load_generator, measure

BUILT_IN = "towers"
TASK = TASKS["tree for tops"]
# As many as a person brushes.
CONTEXTS = 3
# Draws before these may share marks with those that fine-tuning was tuned on.
FIRST_DRAW = 1200
# Seeds of other generators that a rule marks.
MARKED = 2 + CONTEXTS


class Subject:
    """The generator that the lines are measured on.

    Attributes:
        named: Its name, or the path of its file.
        quick: Whether little time is to be spent.
        peer: The checkout of released code, if there is one.
        generator: The generator.
        layer: Where its rules are solved.
    """

    def __init__(self, named: str, *, quick: bool = False, peer: Peer | None = None):
        self.named, self.quick, self.peer = named, quick, peer
        self.generator = load_generator(named)
        self.layer = TASK.layer if self.built_in else usual_layer(self.generator)
        self._memories: dict[tuple[str, int | str], Memory] = {}

    @property
    def built_in(self) -> bool:
        """Whether it is the built-in one, whose concepts are known."""
        return self.named == BUILT_IN

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.generator, TASK)

    def rule(self, number: int, settings: Settings | None = None) -> Rule:
        """One copy, one paste and three contexts, other ones for each number.

        On the built-in generator a tree takes the place of the tops of towers; on others squares are marked, which
        cost what other marks cost.
        """
        settings = settings or Settings()
        if self.built_in:
            return replace(self._marks.rule(CONTEXTS, FIRST_DRAW + number), settings=settings)
        return rule_on(self.generator, self.layer, CONTEXTS, settings, 1 + MARKED * number)

    def memory(self, key_space: str = "patch", samples: int | str = "auto") -> Memory:
        """The memory of the layer, measured once."""
        if (key_space, samples) not in self._memories:
            self._memories[key_space, samples] = measure(self.generator, self.layer, samples, key_space=key_space)
        return self._memories[key_space, samples]
