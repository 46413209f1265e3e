"""The state of one browser session: its draft of a rule, its stack of rules, its work. No Gradio in it.

The handlers of a page run in several threads. A session is changed under its one lock, which is never held while the
generator runs. Readers get immutable values: a draft, a tuple of entries.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from torch import Tensor

from apps.editor.cache import Cache
from apps.editor.choices import Choices
from apps.editor.draft import Draft
from apps.editor.drawer import active, key_of
from apps.editor.drawing import Drawing
from apps.editor.example import example_of
from apps.editor.given import number_of
from apps.editor.keeping import Kept
from apps.editor.look import Look
from apps.editor.marks import Mark, marks_of, merged, read_marks
from apps.editor.model import Model
from apps.editor.models import Models
from apps.editor.offers import Offers
from apps.editor.options import MOST_TILES
from apps.editor.stack import Rules
from apps.editor.work import Work, patch_key
from rewrite import Latent, Mask, Patch, Region

MOST_PATCHES = 24


class Session(Kept):
    """The state of one browser session.

    Attributes:
        models: The models of the server.
        lock: Held to read or change several attributes together; never while waiting for the lock of a model.
        draft: The rule that is being marked.
        rules: The stack of rules.
        work: The latest work.
        opened: Number of models that were opened.
        turn: The last request of the list of rules that was carried out.
        offers: The proposed contexts that wait for an answer.
        figures: Whether the figures of a price were looked at.
    """

    def __init__(self, models: Models):
        super().__init__()
        self.models, self.lock = models, threading.RLock()
        self.opened, self.turn, self.offers = 0, 0, Offers()
        self.figures = False
        self._works: WeakSet[Work] = WeakSet()
        self._drawing: Drawing | None = None
        self.count = models.count(models.first)
        self._start(Draft(models.first, tuple(range(self.count))))
        models.sessions.add(self)

    def __deepcopy__(self, memo: dict) -> "Session":
        """A new session: Gradio copies the initial state for each browser session."""
        return Session(self.models)

    def _start(self, draft: Draft) -> None:
        self.draft, self.rules, self._patches = draft, Rules(self.lock), Cache[Patch](MOST_PATCHES)
        self.offers = Offers(self.offers.turn)
        self.begin()

    @property
    def model(self) -> Model:
        """The open model."""
        return self.draft.model

    # The wall ---------------------------------------------------------------------------------------------------------

    def show_seeds(self, seeds: Sequence[int]) -> None:
        """Put other images on the wall, seeds as the look draws them; the marks of other images are kept.

        Raises:
            ValueError: There are none, or too many.
        """
        self._check_count(seeds)
        with self.lock:
            self.draft = self.draft.with_seeds(seeds)

    def show_look(self, look: Look) -> None:
        """Draw all seeds on the wall with another truncation or class.

        Raises:
            ValueError: The generator has no such class.
        """
        with self.lock:
            self.draft = self.draft.with_look(look)

    def _check_count(self, seeds: Sequence[int]) -> None:
        if not 1 <= len(seeds) <= MOST_TILES:
            raise ValueError(f"the wall shows 1 to {MOST_TILES} seeds, got {len(seeds)}")

    def show_count(self, count: int) -> None:
        """Put more or fewer images on the wall: those that follow, or without the last ones.

        Raises:
            ValueError: It is none, or too many.
        """
        with self.lock:
            seeds = self.draft.seeds[: max(0, count)]
            following = self.draft.following(count - len(seeds))
            self._check_count((*seeds, *following))
            self.draft = self.draft.with_seeds(following, after=seeds)
            self.count = count

    def show_next(self) -> None:
        """Put the images of the seeds that follow on the wall."""
        with self.lock:
            self.show_seeds(self.draft.following(self.count))

    def show_latents(self, latents: Sequence[Latent]) -> None:
        """Put latents first on the wall, as many as there is room for."""
        with self.lock:
            self.draft = self.draft.with_given(latents[:MOST_TILES])
            self._show_first([number_of(each) for each in latents[:MOST_TILES]], self.draft.of_seeds, self.count)

    def before(self) -> Tensor:
        """The images on the wall without rules, at the size of a tile."""
        draft = self.draft
        return draft.model.drawer.tiles(draft.seeds)

    def after(self, first: int | None = None) -> Tensor:
        """The first images on the wall, or all, with the active rules, at the size of a tile."""
        with self.lock:
            draft, held = self.draft, self.rules.held
        return draft.model.drawer.tiles(draft.seeds[:first], held)

    def at_hand(self) -> Tensor:
        """The same, or what is at hand of it where drawing it takes time."""
        with self.lock:
            draft, held = self.draft, self.rules.held
        return draft.model.drawer.at_hand(draft.seeds, held)

    def wall(self) -> Drawing:
        """The wall as it is shown now: all of it where that takes no time to speak of, else what is drawn already."""
        return self._wall().at_once()

    def draw(self) -> Drawing:
        """Begin to draw the wall tile by tile, and end the drawing before."""
        with self.lock:
            self._drawing = self._wall()
            return self._drawing

    def wants(self, drawing: Drawing) -> bool:
        """Whether a drawing is the latest, and of what the session shows now."""
        with self.lock:
            shown = self.model.drawer, self.draft.seeds, key_of(active(self.rules.held))
            return self._drawing is drawing and (drawing.drawer, drawing.seeds, key_of(drawing.held)) == shown

    def _wall(self) -> Drawing:
        with self.lock:
            return Drawing(self.model.drawer, self.draft.seeds, active(self.rules.held), self.draft.names)

    # The draft --------------------------------------------------------------------------------------------------------

    def set_marks(self, document: Any) -> Draft:
        """Set the marks that the page sent.

        Raises:
            ValueError: The document is invalid.
        """
        with self.lock:
            marks = read_marks(document, self.draft.side, self.draft.markable)
            further = self.draft.further if any(mark.role == "context" for mark in marks) else ()
            return self._change(marks=marks, further=further)

    def choose(self, **changes: Any) -> Draft:
        """Change choices.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: A choice is out of range.
        """
        with self.lock:
            if changes.get("layer") is not None:
                self.model.generator.layer(changes["layer"])
            return self._change(choices=replace(self.draft.choices, **changes))

    def add_contexts(self, shown: Iterable[Region], further: Iterable[Region]) -> None:
        """Add contexts to the present marks.

        Args:
            shown: Regions of images on the wall.
            further: Regions of images that are not shown.
        """
        with self.lock:
            draft, side = self.draft, self.draft.side
            masks = [(region.latent, region.mask.resized((side, side))) for region in shown]
            found = [Mark("context", Region(latent, Mask.from_array(mask))) for latent, mask in masks if mask.any()]
            self._change(marks=merged([*draft.marks, *found]), further=tuple(dict.fromkeys((*draft.further, *further))))

    def show_offers(self, accepted: Sequence[Region] = ()) -> None:
        """Put the images of proposals on the wall as far as there is room; the accepted places are contexts."""
        with self.lock:
            self.add_contexts(accepted, ())
            self.draft = replace(self.draft, seeds=self.offers.shown(self.draft))

    def show_example(self) -> Draft:
        """Put the marks of the example in place of the present ones, and its images first on the wall.

        Raises:
            ValueError: There is none for this model.
        """
        with self.lock:
            example = example_of(self.model)
            if example is None:
                raise ValueError("there is an example for the built-in generator only: open towers")
            self.draft = replace(self.draft, look=Look())
            self._show_first(example.seeds, range(self.count), self.count)
            # Copied values that are not adjusted take half of the time, and show as well here.
            return self._change(marks=example.marks, further=(), choices=Choices(refine=False))

    def show_rule(self, index: int) -> bool:
        """Show a rule: its marks and their images. False if the wall cannot show them."""
        with self.lock:
            rule, draft = self.rules.entry(index).rule, self.draft
            marks = (rule and marks_of(rule, draft.side)) or ()
            seeds = list(dict.fromkeys(mark.seed for mark in marks))
            if rule is None or not 1 <= len(seeds) <= MOST_TILES:
                return False
            self.draft = draft.with_given(mark.region.latent for mark in marks)
            self._show_first(seeds, (*draft.seeds, *range(MOST_TILES)), len(draft.seeds))
            layer = None if rule.layer == draft.model.layer else rule.layer
            self._change(marks=marks, further=(), choices=replace(draft.choices, action=rule.action, layer=layer))
            return True

    def _show_first(self, seeds: Sequence[int], others: Iterable[int], count: int) -> None:
        """Show images that marks belong to, whatever the look, and others after them."""
        wall = tuple(dict.fromkeys((*seeds, *others)))[: max(len(seeds), count)]
        self._check_count(wall)
        self.draft = replace(self.draft, seeds=wall)

    def _change(self, **changes: Any) -> Draft:
        changed = replace(self.draft, **changes)
        if changed != self.draft:
            self.draft = replace(changed, version=changed.version + 1)
        return self.draft

    # Work -------------------------------------------------------------------------------------------------------------

    def begin(self) -> Work:
        """Begin work on the open model; `stop` ends it."""
        with self.lock:
            self.work = Work(self.model, self.rules, self._patches)
            self._works.add(self.work)
            return self.work

    def stop(self) -> None:
        """Stop all work that has begun."""
        with self.lock:
            self._drawing = None
            for work in self._works:
                work.stop()

    def solved(self, draft: Draft) -> Patch | None:
        """The patch of a draft, if it is complete and was solved before."""
        return None if draft.missing else self._patches.find(patch_key(draft.rule(), draft.choices.caution))

    def release(self) -> None:
        """Free what can be computed again: the page is closed or idle."""
        with self.lock:
            self._patches, self._drawing = Cache(MOST_PATCHES), None
            self.begin()
