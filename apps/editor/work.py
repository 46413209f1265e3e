"""Work that takes time and runs the generator: measuring, solving, previewing. Stop ends it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

from torch import Tensor

from apps.editor.cache import Cache
from apps.editor.choices import careful
from apps.editor.given import number_of
from apps.editor.model import BETWEEN_REPORTS, Model
from apps.editor.stack import LONGEST_NAME, Entry, Rules
from rewrite import Patch, Rule, Settings, solve
from rewrite.goals.preview import preview


class Stopped(Exception):  # noqa: N818 - it is no error
    """The user pressed Stop."""


class Work:
    """Work of one session on one model; it keeps to that model even if the session opens another meanwhile.

    Attributes:
        model: The model.
        rules: The stack for solved rules.
        patches: The patches that were solved before, by `patch_key`.
    """

    def __init__(self, model: Model, rules: Rules, patches: Cache[Patch]):
        self.model, self.rules, self.patches = model, rules, patches
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the work at its next check; nothing of it is kept."""
        self._stopped.set()

    def check(self) -> None:
        """Go on, unless the work was stopped.

        Raises:
            Stopped: It was.
        """
        if self._stopped.is_set():
            raise Stopped

    def running(self) -> AbstractContextManager:
        """Runs of the generator inside a `with` block end when the work is stopped."""
        return self.model.checking(self.check)

    def following(self, run: Callable[[Callable[[float], None]], object]) -> Iterator[float]:
        """Run a function that reports its progress, and yield the last report, 0 at first, every quarter of a second.

        Raises:
            Stopped: The user pressed Stop.
        """
        latest = [0.0]

        def on_progress(amount: float) -> None:
            latest[:] = [amount]
            self.check()

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, on_progress)
            while not wait([running], timeout=BETWEEN_REPORTS).done:
                # After Stop there is nothing to report: the function ends at its next check.
                if not self._stopped.is_set():
                    yield from latest
            running.result()

    def measuring(self, layer: str) -> Iterator[float]:
        """Measure the memory of a layer unless it is known; yields the progress, 0 to 1.

        Raises:
            LookupError: The generator has no such layer.
            Stopped: The user pressed Stop.
        """
        if not self.model.measured(layer):
            for images in self.following(partial(self.model.memory, layer)):
                yield images / self.model.samples

    def solving(self, rule: Rule, caution: float = 0.0) -> Iterator[float]:
        """Solve a rule unless its patch is known; yields the progress of the choice of its weights, 0 to 1.

        Raises:
            LookupError, Stopped, ValueError: See `solve`.
        """
        if patch_key(rule, caution) not in self.patches:
            yield from self.following(lambda on_progress: self.solve(rule, caution, on_progress))

    def solve(self, rule: Rule, caution: float = 0.0, on_progress: Callable[[float], object] | None = None) -> Patch:
        """The patch of a rule, solved now unless it is known.

        Where its marks choose the weights, they are chosen once, whatever the caution and the rank.

        Args:
            rule: The rule.
            caution: Power of ten by which weights against changes elsewhere are raised if the marks chose them.
            on_progress: Called with the progress of that choice, 0 to 1; may raise to end it.

        Raises:
            LookupError: The generator has no such layer.
            Stopped: The user pressed Stop.
            ValueError: The rule was written on another model, or cannot be solved.
        """
        key = patch_key(rule, caution)
        return self.patches.get(key, lambda: self._known(key, rule, caution, on_progress), self._alone())

    def _known(self, key: str, rule: Rule, caution: float, on_progress: Callable[[float], object] | None) -> Patch:
        """The patch that another session, or this one before it closed its page, solved; solved now if none did."""
        return self.model.patches.get(key, lambda: self._solve(rule, caution, on_progress))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other work of the session solves inside a `with` block, even while the lock of the model is lent."""
        with self.patches.making, self.model.lock:
            yield

    def _solve(self, rule: Rule, caution: float, on_progress: Callable[[float], object] | None) -> Patch:
        self.check()
        settings = rule.settings
        if settings.weights == "given" or (settings.rank is None and caution == 0):
            return self._solved(rule, on_progress=on_progress)
        chosen = self.solve(rule.with_settings(rank=None), on_progress=on_progress)
        given = replace(careful(settings_of(chosen), caution), rank=settings.rank)
        return self._solved(replace(rule, settings=given), judged=True)

    def _solved(
        self, rule: Rule, *, judged: bool = False, on_progress: Callable[[float], object] | None = None
    ) -> Patch:
        model = self.model

        def step(done: float) -> None:
            model.lock.lend()
            self.check()
            if on_progress is not None:
                on_progress(done)

        memory = model.memory(rule.layer)
        with self.running():
            return solve(model.generator, memory, rule, goals=model.goals, judged=judged, on_progress=step)

    def settled(self, rule: Rule, caution: float = 0.0) -> Rule:
        """The rule with the weights that its patch was solved with, so that it replays; see `solve`."""
        return replace(rule, settings=settings_of(self.solve(rule, caution)))

    def rewrite(self, rule: Rule, caution: float = 0.0) -> Entry:
        """Solve a rule, and put it on the stack.

        Raises:
            LookupError, Stopped: See `solve`.
            ValueError: See there; or the stack is full.
        """
        return self.rules.add(self._entry(rule, caution))

    def rewrite_again(self, rule: Rule, caution: float = 0.0) -> Entry:
        """The same, in the place of the rule with the same marks, if there is one.

        Raises:
            LookupError, Stopped, ValueError: See `rewrite`.
        """
        return self.rules.place(self._entry(rule, caution))

    def check_rule(self, rule: Rule) -> None:
        """Refuse what can be refused before anything is measured or solved.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: The rule was written on another model.
        """
        if rule.model != self.model.fingerprint:
            raise ValueError(f"this rule was written on model {rule.model}, not on {self.model.fingerprint}")
        self.model.generator.layer(rule.layer)

    def _entry(self, rule: Rule, caution: float) -> Entry:
        patch, rule = self.solve(rule, caution), self.settled(rule, caution)
        return Entry(rule.name[:LONGEST_NAME], replace(patch, rules=(rule.to_json(),)), rule=rule)

    def preview(self, rule: Rule) -> dict[int, Tensor]:
        """The marked images by number with the wanted values in their features: a preview of the paste.

        Raises:
            Stopped: The user pressed Stop.
        """
        with self.running():
            found = preview(self.model.generator, rule, goals=self.model.goals)
        return {number_of(latent): image for latent, image in found.items()}


def settings_of(patch: Patch) -> Settings:
    """The settings that the rule of a patch was solved with."""
    return Rule.from_json(patch.rules[0]).settings


def patch_key(rule: Rule, caution: float = 0.0) -> str:
    """All that the patch of a rule depends on; see `Work.solve`."""
    return f"{float(caution)} {replace(rule, name='', effect={}).to_json()}"
