"""Work that takes time and runs the generator: measuring, solving, previewing. Stop ends it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from torch import Tensor

from apps.editor.cache import Cache
from apps.editor.model import Model
from apps.editor.stack import LONGEST_NAME, Entry, Rules
from rewrite import Patch, Rule, solve
from rewrite.goals.preview import preview

BETWEEN_REPORTS = 0.25


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
        """Run a function that reports its progress, and yield the last report every quarter of a second.

        Raises:
            Stopped: The user pressed Stop.
        """
        latest = [0.0]

        def on_progress(amount: float) -> None:
            latest[0] = amount
            self.check()

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, on_progress)
            while not wait([running], timeout=BETWEEN_REPORTS).done:
                # After Stop there is nothing to report: the function ends at its next check.
                if not self._stopped.is_set():
                    yield latest[0]
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

    def solve(self, rule: Rule) -> Patch:
        """The patch of a rule, solved now unless it is known.

        Raises:
            LookupError: The generator has no such layer.
            Stopped: The user pressed Stop.
            ValueError: The rule was written on another model, or cannot be solved.
        """
        return self.patches.get(patch_key(rule), lambda: self._solve(rule), self.model.lock)

    def _solve(self, rule: Rule) -> Patch:
        memory = self.model.memory(rule.layer)
        with self.running():
            return solve(self.model.generator, memory, rule, goals=self.model.goals)

    def rewrite(self, rule: Rule) -> Entry:
        """Solve a rule, and put it on the stack.

        Raises:
            LookupError, Stopped: See `solve`.
            ValueError: See there; or the stack is full.
        """
        patch = replace(self.solve(rule), rules=(rule.to_json(),))
        return self.rules.add(Entry(rule.name[:LONGEST_NAME], patch, rule=rule))

    def preview(self, rule: Rule) -> dict[int, Tensor]:
        """The marked images by seed with the wanted values in their features: a preview of the paste.

        Raises:
            Stopped: The user pressed Stop.
        """
        with self.running():
            found = preview(self.model.generator, rule, goals=self.model.goals)
        return {latent.seed: image for latent, image in found.items()}


def patch_key(rule: Rule) -> str:
    """All of a rule that its patch depends on."""
    return replace(rule, name="", effect={}).to_json()
