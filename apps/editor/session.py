"""The state of one browser session: its marks, its choices and its stack of rules. No Gradio in it.

The seam: a page's handlers call a `Session` and show what it says. `Session.model` is shared with other sessions;
everything else is this session's own, and patches are on the generator only while an image is drawn.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from apps.editor.marks import Mark, marks_of, mask_side, read_marks
from apps.editor.model import Kept, Models, Stopped
from apps.editor.options import MOST_TILES
from apps.editor.stack import LONGEST_NAME, Entry, Rules
from dissect.regions import regions_of, things
from dissect.sources.contract import ConceptSource
from dissect.stated_effect import stated_effect
from rewrite import Latent, Mask, Patch, Region, Rule, Settings, solve
from rewrite.goals.preview import preview

# Of the settings tried on four and on nine marked images, the ones that drew the copy most often for the least change
# elsewhere: fewer marks than a rule from concepts has, so that they weigh more.
SETTINGS = Settings(damage=0.003, drift=0.003, others=3.0, refine=10)
ACTIONS = ("paste", "erase")
ENOUGH_CONTEXTS = 3
MOST_RANK = 512
MOST_CAUTION = 1.5
MOST_PATCHES = 24
FIRST_FURTHER = 10_000
LEAST = 6 / 64**2


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


class Session:
    """What one browser session knows.

    Attributes:
        models: The models of the server.
        model: The one that this session looks at.
        seeds: The images on its wall.
        marks: What is brushed.
        choices: What is chosen beside that.
        rules: The stack of rules.
        more: Places in images that are not on the wall, found by concept.
        version: Counts the changes of marks and choices, so that work for older ones can end early.
        opened: Counts the models that were opened.
        turn: The last wish of the page's list of rules that was done.
    """

    def __init__(self, models: Models):
        self.models, self.model = models, models.first
        self.seeds, self.opened = tuple(range(models.options.tiles)), 0
        self._forget()

    def __deepcopy__(self, memo: dict) -> "Session":
        """Gradio copies the state that a page begins with: each browser session begins anew."""
        return Session(self.models)

    def _forget(self) -> None:
        self.marks: tuple[Mark, ...] = ()
        self.more: tuple[Region, ...] = ()
        self.choices = Choices()
        self.rules = Rules()
        self.version, self.turn = 0, 0
        self._patches, self._stop = Kept(MOST_PATCHES), threading.Event()

    # The model and the wall -------------------------------------------------------------------------------------------

    @property
    def side(self) -> int:
        """Height and width of the masks."""
        return mask_side(self.model.generator.size)

    @property
    def layer(self) -> str:
        """Where the next rule is solved."""
        return self.choices.layer or self.model.layer

    def open(self, name: str) -> None:
        """Look at another model; marks and rules belong to the one before and go with it.

        Raises:
            FileNotFoundError: The server may open no such model.
            ValueError: It is no generator.
        """
        self.model = self.models.open(name)
        self.opened += 1
        self._forget()

    def look_at(self, seeds: Sequence[int]) -> None:
        """Put other images on the wall; marks on images that are no longer there stay.

        Raises:
            ValueError: There are none, or too many.
        """
        if not 1 <= len(seeds) <= MOST_TILES:
            raise ValueError(f"the wall shows 1 to {MOST_TILES} seeds, got {len(seeds)}")
        self.seeds = tuple(dict.fromkeys(seeds))

    def before(self) -> Tensor:
        """The images of the wall as the model draws them."""
        return self.model.images(self.seeds)

    def after(self, first: int | None = None) -> Tensor:
        """The images of the wall with the rules that are on, or only the first of them."""
        return self.model.edited(self.rules.held, self.seeds[:first])

    # Marks and the rule that they make --------------------------------------------------------------------------------

    def mark(self, document: Any) -> None:
        """Take the marks of the page.

        Raises:
            ValueError: They are not what a wall sends.
        """
        marks = read_marks(document, self.side)
        if marks != self.marks:
            self.marks, self.version = marks, self.version + 1
        if not any(mark.role == "context" for mark in marks):
            self.more = ()

    def choose(self, **changes: Any) -> None:
        """Change choices.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: A choice is out of range.
        """
        if changes.get("layer") is not None:
            self.model.generator.layer(changes["layer"])
        choices = replace(self.choices, **changes)
        if choices != self.choices:
            self.choices, self.version = choices, self.version + 1

    def regions(self, role: str) -> tuple[Region, ...]:
        """What is marked in a role: every connected part is a region of its own."""
        return tuple(
            Region(Latent(mark.seed), Mask.from_array(part))
            for mark in self.marks
            if mark.role == role
            for part in regions_of(mark.region.mask.array())
        )

    @property
    def missing(self) -> str:
        """What must still be marked before there is a rule; nothing if it is complete."""
        roles = {mark.role for mark in self.marks}
        if self.choices.action == "paste" and "copy" not in roles:
            return "Brush what you want more of: choose Copy and brush over it in one image."
        if not roles & {"paste", "context"}:
            if self.choices.action == "erase":
                return "Brush what shall go: choose Context and brush over it in a few images."
            return "Brush where it shall go: choose Paste and brush over that place in another image."
        return ""

    @property
    def advice(self) -> str:
        """What would make a complete rule better; nothing if nothing would."""
        places = len(self.regions("paste")) + len(self.regions("context"))
        if places <= ENOUGH_CONTEXTS:
            return f"Better with {ENOUGH_CONTEXTS} or more contexts: brush the same kind of place in other images."
        return ""

    def rule(self) -> Rule:
        """The rule that marks and choices make.

        Raises:
            ValueError: Something is still missing.
        """
        if self.missing:
            raise ValueError(self.missing)
        copy, paste, context = self.regions("copy"), self.regions("paste"), self.regions("context")
        erase = self.choices.action == "erase"
        return Rule(
            name=f"rule {len(self.rules.entries) + 1}",
            model=self.model.fingerprint,
            layer=self.layer,
            copy=() if erase else copy,
            paste=paste[0] if paste else None,
            context=(*paste[1:], *context, *self.more),
            action=self.choices.action,
            anchor="centre",
            protect=self.regions("protect"),
            truncation=self.model.generator.truncation,
            settings=self.choices.settings,
        )

    # Solving ----------------------------------------------------------------------------------------------------------

    def answer(self, rule: Rule) -> Patch:
        """The patch of a rule: solved before, or now.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: The rule was written on another model, or cannot be solved.
        """
        return self._patches.of(self._key(rule), lambda: self._solve(rule))

    def answered(self, rule: Rule) -> bool:
        """Whether the patch of a rule is there already."""
        return self._key(rule) in self._patches

    def _key(self, rule: Rule) -> str:
        return replace(rule, name="", effect={}).to_json()

    def _solve(self, rule: Rule) -> Patch:
        memory = self.model.memory(rule.layer)
        with self.working():
            return solve(self.model.generator, memory, rule, goals=self.model.goals)

    def wanted(self) -> dict[int, Tensor]:
        """What the images of the marks would look like if all of it arrived, by seed: the paste, in feature space.

        Raises:
            ValueError: Something is still missing.
        """
        rule = self.rule()
        with self.working():
            found = preview(self.model.generator, rule, goals=self.model.goals)
        return {latent.seed: image for latent, image in found.items()}

    def stop(self) -> None:
        """End what this session's generator does now; nothing of it is kept."""
        self._stop.set()

    def check(self) -> None:
        """Go on, unless somebody pressed Stop.

        Raises:
            Stopped: Somebody did.
        """
        if self._stop.is_set():
            raise Stopped

    def rest(self) -> None:
        """Let go of what can be made again: nobody looks any more, or for a while."""
        self._patches = Kept(MOST_PATCHES)

    def working(self) -> AbstractContextManager:
        """Whatever runs the generator inside a `with` block ends when somebody presses Stop."""
        return self.model.stoppable(self._stop)

    def begin(self) -> None:
        """Forget that somebody pressed Stop before."""
        self._stop.clear()

    def measuring(self, layer: str) -> Iterator[float]:
        """Measure the memory of a layer, if nobody did, and say again and again how far that is, 0 to 1.

        Raises:
            LookupError: The generator has no such layer.
            Stopped: Somebody pressed Stop.
        """
        if self.model.measured(layer):
            return
        done = [0]

        def on_progress(count: int) -> None:
            done[0] = count
            self.check()

        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(self.model.memory, layer, on_progress)
            while not wait([work], timeout=0.25).done:
                # Once Stop is pressed there is nothing more to tell: the work ends at its next step.
                if not self._stop.is_set():
                    yield done[0] / self.model.samples
            work.result()

    def find(self, concept: str, more: int = 0) -> int:
        """Mark every region of a concept on the wall as context, and in further images that are not shown.

        Args:
            concept: One that the model's source knows.
            more: How many further images with it are context too.

        Returns:
            The number of places found.

        Raises:
            LookupError: The source does not know the concept.
            ValueError: The model has no source of concepts.
            Stopped: Somebody pressed Stop.
        """
        source = self.model.source
        if source is None:
            raise ValueError("nothing names the pixels of this model's images: brush the contexts by hand")
        source.concepts.number(concept)
        with self.working():
            shown = self._things(source, concept, self.seeds)
            beyond = self._things(source, concept, range(FIRST_FURTHER, FIRST_FURTHER + 2 * more)) if more else []
        seeds = list(dict.fromkeys(region.latent.seed for region in beyond))[:more]
        added = tuple(region for region in beyond if region.latent.seed in seeds)
        self.more = tuple(dict.fromkeys((*self.more, *added)))
        found = {mark.seed: mark for mark in self.marks if mark.role == "context"}
        for region in shown:
            seed, area = region.latent.seed, region.mask.resized((self.side, self.side))
            area = area | found[seed].region.mask.array() if seed in found else area
            if area.any():
                found[seed] = Mark("context", Region(Latent(seed), Mask.from_array(area)))
        others = tuple(mark for mark in self.marks if mark.role != "context")
        self.marks, self.version = others + tuple(found.values()), self.version + 1
        return len(shown) + len(added)

    def _things(self, source: ConceptSource, concept: str, seeds: Sequence[int]) -> list[Region]:
        least = round(LEAST * self.side**2) or 1
        return [t.region for t in things(self.model.generator, source, [concept], seeds, least=least, inside=False)]

    # The stack --------------------------------------------------------------------------------------------------------

    def rewrite(self) -> Entry:
        """Solve the rule of the marks and put it on the stack.

        Raises:
            ValueError: Something is missing, or the rule cannot be solved.
        """
        return self.load(self.stated())

    def stated(self) -> Rule:
        """The rule of the marks, which says by concept what it turns into what, if the model's source can tell.

        Raises:
            ValueError: Something is still missing.
        """
        rule, source = self.rule(), self.model.source
        if source is None:
            return rule
        shown = replace(rule, context=tuple(place for place in rule.context if place not in self.more))
        found = stated_effect(shown, self._labels, self.model.labels(self.seeds), source.concepts)
        return replace(rule, effect=found)

    def _labels(self, latent: Latent) -> Tensor:
        if latent.seed in self.seeds:
            return self.model.labels(self.seeds)[self.seeds.index(latent.seed)]
        return self.model.labels((latent.seed,))[0]

    def load(self, rule: Rule) -> Entry:
        """Solve a rule as it is, and put it on the stack.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: It was written on another model, or cannot be solved.
        """
        patch = replace(self.answer(rule), rules=(rule.to_json(),))
        return self.rules.add(Entry(rule.name[:LONGEST_NAME], patch, rule=rule))

    def show(self, index: int) -> bool:
        """Put the marks of a rule on the wall, and its images; false where the wall cannot show them."""
        rule = self.rules.entry(index).rule
        marks = None if rule is None else marks_of(rule, self.side)
        if marks is None or rule is None:
            return False
        seeds = list(dict.fromkeys(mark.seed for mark in marks))
        if len(seeds) > MOST_TILES:
            return False
        rest = [seed for seed in (*self.seeds, *range(MOST_TILES)) if seed not in seeds]
        self.look_at([*seeds, *rest][: max(len(seeds), len(self.seeds))])
        self.marks, self.version, self.more = marks, self.version + 1, ()
        layer = None if rule.layer == self.model.layer else rule.layer
        self.choices = replace(self.choices, action=rule.action, layer=layer)
        return True
