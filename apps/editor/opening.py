"""How far a model is that is being opened. Nearly all of the time goes into its first image, which tells its speed."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apps.editor.drawer import Drawer, checked
from rewrite import Generator

READ, COPIED = 0.02, 0.05


class Opening:
    """A model that is being opened.

    Args:
        check: Called between the steps, and before each part of the network that the first image passes through; it may
            raise to end the work.

    Attributes:
        text: What is done now.
        done: The share that is done, 0 to 1.
    """

    def __init__(self, check: Callable[[], object] = lambda: None):
        self._check, self.text, self.done = check, "Reading the file", 0.0

    def step(self, text: str, done: float) -> None:
        """Go on to another step."""
        self._check()
        self.text, self.done = text, done

    def first_image(self, drawer: Drawer) -> None:
        """Draw the first image, which says how many the wall has.

        Raises:
            Exception: What `check` raised.
        """
        self.step("Drawing the first image", COPIED)
        costs, spent = costs_of(drawer.generator), [0.0]
        total = max(sum(costs.values()), 1.0)

        def on_part(part: int) -> None:
            self._check()
            self.done = min(1.0, COPIED + (1 - COPIED) * spent[0] / total)
            spent[0] += costs.get(part, 0.0)

        with drawer.lock, checked(drawer.generator, self._check), _told(drawer.generator, costs, on_part):
            drawer.tiles((0,))
        self.done = 1.0


@contextmanager
def _told(generator: Generator, costs: dict[int, float], on_part: Callable[[int], None]) -> Iterator[None]:
    """Tell of every part of a network whose cost is known, when it begins to run inside a `with` block."""
    parts = [part for part in generator.module.modules() if id(part) in costs]
    hooks = [part.register_forward_pre_hook(lambda part, _: on_part(id(part))) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def costs_of(generator: Generator) -> dict[int, float]:
    """About how many multiplications each part of a network takes for an image, by the part's `id`."""
    weights = {generator.weight(name).data_ptr(): name for name in generator.layers}
    found = {}
    for part in generator.module.modules():
        for weight in part.parameters(recurse=False):
            name = weights.get(weight.data_ptr())
            if name is not None:
                found[id(part)] = float(weight.numel() * math.prod(generator.layer(name).output_grid))
    return found
