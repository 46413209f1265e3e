"""A draft of a rule: the marks and choices of one moment, and the rule that they make once they are complete."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from apps.editor.choices import Choices
from apps.editor.marks import Mark, mask_side
from apps.editor.model import Model
from dissect.marked_concepts import marked_concepts
from rewrite import Latent, Mask, Region, Rule
from rewrite.rules.masks import regions_of

ENOUGH_CONTEXTS = 3


@dataclass(frozen=True)
class Draft:
    """A rule that may still be incomplete. It is immutable: each change gives the session a new draft.

    Attributes:
        model: The model that the rule is for.
        seeds: The images on the wall.
        marks: The brushed regions.
        further: Contexts in images that are not on the wall, found by concept.
        choices: The options beside the marks.
        version: Counts the changes of marks and choices.
    """

    model: Model
    seeds: tuple[int, ...]
    marks: tuple[Mark, ...] = ()
    further: tuple[Region, ...] = ()
    choices: Choices = field(default_factory=Choices)
    version: int = 0

    @property
    def side(self) -> int:
        """Height and width of the masks."""
        return mask_side(self.model.generator.size)

    @property
    def layer(self) -> str:
        """Where the rule is solved."""
        return self.choices.layer or self.model.layer

    def regions(self, *roles: str) -> tuple[Region, ...]:
        """The marked regions of some roles, in that order; every connected part is a region of its own."""
        return tuple(
            Region(Latent(mark.seed), Mask.from_array(part))
            for role in roles
            for mark in self.marks
            if mark.role == role
            for part in regions_of(mark.region.mask.array())
        )

    def weighed_as(self, other: "Draft") -> bool:
        """Whether the same weights would be chosen for another draft: marks choose them, rank and caution do not."""
        same = replace(other.choices, rank=self.choices.rank, caution=self.choices.caution)
        return replace(other, choices=same, seeds=self.seeds, version=self.version) == self

    @property
    def missing(self) -> str:
        """What must still be marked before there is a rule; empty if it is complete."""
        roles = {mark.role for mark in self.marks}
        if self.choices.action == "paste" and "copy" not in roles:
            return "Brush what you want more of: choose Copy and brush over it in one image."
        if not roles & {"paste", "context"}:
            if self.choices.action == "erase":
                return "Brush what to remove: choose Context and brush over it in a few images."
            return "Brush where it shall go: choose Paste and brush over that place in another image."
        return ""

    @property
    def advice(self) -> str:
        """What would make a complete rule better; empty if there is nothing to advise."""
        if len(self.regions("paste", "context")) <= ENOUGH_CONTEXTS:
            beside = "" if self.choices.action == "erase" else " beside the paste"
            return (
                f"Better with {ENOUGH_CONTEXTS} or more contexts{beside}: brush the same kind of place in other images."
            )
        return ""

    def rule(self, name: str = "") -> Rule:
        """The rule that marks and choices make.

        Raises:
            ValueError: The draft is incomplete; the message says what is missing.
        """
        if self.missing:
            raise ValueError(self.missing)
        paste = self.regions("paste")
        return Rule(
            name=name,
            model=self.model.fingerprint,
            layer=self.layer,
            copy=() if self.choices.action == "erase" else self.regions("copy"),
            paste=paste[0] if paste else None,
            context=(*paste[1:], *self.regions("context"), *self.further),
            action=self.choices.action,
            anchor="centre",
            protect=self.regions("protect"),
            truncation=self.model.generator.truncation,
            label=self.model.generator.label,
            settings=self.choices.settings,
        )

    def places_alone(self) -> Rule:
        """The marked places as a rule that can be searched with, whether or not there is a copy.

        Raises:
            ValueError: No place is marked.
        """
        places = (*self.regions("paste", "context"), *self.further)
        if not places:
            raise ValueError("Brush the place that is meant in an image or more first: choose Paste or Context.")
        return Rule(
            name="",
            model=self.model.fingerprint,
            layer=self.layer,
            copy=self.regions("copy"),
            context=places,
            action="erase",
            protect=self.regions("protect"),
            truncation=self.model.generator.truncation,
            label=self.model.generator.label,
        )

    def rule_with_effect(self, name: str) -> Rule:
        """The rule, with its effect stated by concept where the model's source can tell.

        Raises:
            ValueError: The draft is incomplete; the message says what is missing.
        """
        rule, source = self.rule(name), self.model.source
        if source is None:
            return rule
        shown = replace(rule, context=tuple(place for place in rule.context if place not in self.further))
        found = marked_concepts(shown, self._labels, self.model.labels(self.seeds), source.concepts)
        return replace(rule, effect=found)

    def _labels(self, latent: Latent) -> Tensor:
        if latent.seed in self.seeds:
            return self.model.labels(self.seeds)[self.seeds.index(latent.seed)]
        return self.model.labels((latent.seed,))[0]
