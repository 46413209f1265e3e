"""How long work is still going to take, told from how far it is."""

import time
from collections.abc import Callable

from apps.editor.drawing import lasting

# Before that, nobody can tell.
LEAST_DONE, LEAST_SECONDS = 0.02, 1.0


class Remaining:
    """Work that begins now, or goes on from where it is.

    Args:
        clock: What tells the seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._begun, self._first = clock, clock(), 2.0

    def said(self, done: float) -> str:
        """The time that is left as a sentence, such as `about 12 s left`; empty while nobody can tell.

        Args:
            done: The share that is done, 0 to 1. What is told first is where it began, and a lower share begins anew.
        """
        if done < self._first:
            self._begun, self._first = self._clock(), done
        seconds, since = self._clock() - self._begun, done - self._first
        if since < LEAST_DONE or seconds < LEAST_SECONDS or done >= 1:
            return ""
        return f"{lasting(seconds * (1 - done) / since)} left"

    def after(self, text: str, done: float) -> str:
        """A text, followed by the time that is left where that is known."""
        left = self.said(done)
        return f"{text}, {left}" if left else text
