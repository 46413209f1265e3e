"""A draft of a rule: the marks and choices of one moment, and the rule that they make once they are complete."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from apps.editor.choices import Choices
from apps.editor.given import SEEDS, images_text, names_of, number_of
from apps.editor.look import Look
from apps.editor.marks import Mark, mask_side
from apps.editor.model import Model
from dissect.marked_concepts import marked_concepts
from rewrite import Latent, Mask, Region, Rule
from rewrite.rules.masks import regions_of

ENOUGH_CONTEXTS = 3
MOST_GIVEN = 64


@dataclass(frozen=True)
class Draft:
    """A rule that may still be incomplete. It is immutable: each change gives the session a new draft.

    Attributes:
        model: The model that the rule is for.
        seeds: The images on the wall: seeds, and numbers of latents.
        marks: The brushed regions.
        further: Contexts in images that are not on the wall, found by concept.
        choices: The options beside the marks.
        version: Counts the changes of marks and choices.
        given: The latents of files that may stand on the wall.
        look: How seeds are drawn that are put on the wall from here on.
        looked: The latents by value that stand for seeds, as some look drew them.
    """

    model: Model
    seeds: tuple[int, ...]
    marks: tuple[Mark, ...] = ()
    further: tuple[Region, ...] = ()
    choices: Choices = field(default_factory=Choices)
    version: int = 0
    given: tuple[Latent, ...] = ()
    look: Look = field(default_factory=Look)
    looked: tuple[Latent, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the images on the wall are called."""
        names, looked = names_of(self._meant, self.given), self._looked_seeds
        sign = f" {self.look.sign}".rstrip()
        return [name + sign if number in looked else name for name, number in zip(names, self.seeds, strict=True)]

    @property
    def text(self) -> str:
        """The images on the wall as people write them."""
        return images_text(self._meant, self.given)

    @property
    def plain_seeds(self) -> list[int]:
        """The seeds on the wall, without latents of files."""
        return [seed for seed in self._meant if seed < SEEDS]

    @property
    def of_seeds(self) -> list[int]:
        """The images on the wall without latents of files, as they are drawn."""
        return [number for number, meant in zip(self.seeds, self._meant, strict=True) if meant < SEEDS]

    @property
    def _looked_seeds(self) -> dict[int, int]:
        return {number_of(latent): latent.seed for latent in self.looked}

    @property
    def _meant(self) -> list[int]:
        """The images on the wall; a latent that stands for a seed is that seed."""
        looked = self._looked_seeds
        return [looked.get(number, number) for number in self.seeds]

    def following(self, count: int) -> range:
        """So many of the seeds that follow those on the wall."""
        first = (max(self.plain_seeds, default=-1) + 1) % 2**31
        return range(first, first + count)

    @property
    def markable(self) -> tuple[Latent, ...]:
        """The latents by value that may be marked."""
        return tuple(dict.fromkeys((*self.given, *self.looked, *self.marked)))

    @property
    def marked(self) -> tuple[Latent, ...]:
        """The latents by value that are marked."""
        return tuple(dict.fromkeys(mark.region.latent for mark in self.marks if mark.seed >= SEEDS))

    def with_given(self, latents: Iterable[Latent]) -> "Draft":
        """The same draft; the latents by value among some may stand on the wall from here on."""
        shared = (self.model.given.shared(latent) for latent in latents if number_of(latent) >= SEEDS)
        return replace(self, given=tuple(dict.fromkeys((*self.given, *shared)))[-MOST_GIVEN:])

    def with_seeds(self, seeds: Iterable[int], after: Sequence[int] = ()) -> "Draft":
        """The same draft with these images on the wall, the seeds as the look draws them.

        Args:
            seeds: The images.
            after: Images that come before them, and stay as they are drawn now.

        Raises:
            ValueError: The generator has no such class.
        """
        numbers = tuple(seeds)
        drawn = self.look.latents(self.model.generator, [number for number in numbers if number < SEEDS])
        stand = {latent.seed: latent for latent in map(self.model.given.shared, drawn)}
        wall = (*after, *(number_of(stand[number]) if number in stand else number for number in numbers))
        fresh = [latent for latent in stand.values() if number_of(latent) >= SEEDS]
        # Those that stood there are known for a while: the page may undo the erasing of a mark.
        looked = dict.fromkeys((*(latent for latent in self.looked if latent not in fresh), *fresh))
        return replace(self, seeds=tuple(dict.fromkeys(wall)), looked=tuple(looked)[-MOST_GIVEN:])

    def with_look(self, look: Look) -> "Draft":
        """The same draft with another look of all seeds on the wall.

        Raises:
            ValueError: The generator has no such class.
        """
        return replace(self, look=look).with_seeds(self._meant)

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
            Region(mark.region.latent, Mask.from_array(part))
            for role in roles
            for mark in self.marks
            if mark.role == role
            for part in regions_of(mark.region.mask.array())
        )

    def weighed_as(self, other: "Draft") -> bool:
        """Whether the same weights would be chosen for another draft: marks choose them, rank and caution do not."""
        same = replace(other.choices, rank=self.choices.rank, caution=self.choices.caution)
        same = replace(other, choices=same, seeds=self.seeds, version=self.version, given=self.given)
        return replace(same, look=self.look, looked=self.looked) == self

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
        number = number_of(latent)
        if number in self.seeds:
            return self.model.labels(self.seeds)[self.seeds.index(number)]
        return self.model.labels((number,))[0]
