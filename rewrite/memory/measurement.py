"""Measuring a memory: on as many images as are asked for, or on as many as its forecast needs."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.memory.accuracy import Accuracy, Halves
from rewrite.memory.memory import Memory
from rewrite.memory.sums import Sums, positions_per_image
from rewrite.rules.settings import KEY_SPACES
from rewrite.threads import one_blas_thread

FIRST_SEED = 1_000_000
AUTO = "auto"
# The most images that `auto` reads, and those after which it first asks whether they are enough: what is rare in images
# is not seen in fewer.
MOST, LEAST = 2000, 200
# The next time is when they should be by what is known then, a little later, as asking takes as long as several images.
MARGIN, LATER = 1.2, (1.1, 2.5)


def measure(
    generator: Generator,
    layer: str,
    samples: int | str = AUTO,
    *,
    key_space: str = "patch",
    first_seed: int = FIRST_SEED,
    batch: int = 16,
    progress: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Memory:
    """Measure the second moment of a layer's keys.

    Channel keys are read at every position. Patch keys are read at a sample of positions drawn from each image's seed.
    With a number of images, all sums are in float64, and patch keys are enough for about 20 for each dimension. With
    `auto`, keys are summed in two halves and blocks of float32, and images are read until what each half says of the
    other shows that more of them would hardly move the forecast (see `Halves`).

    Args:
        generator: The generator.
        layer: Name of the layer.
        samples: Number of images, or `auto` for as many as are needed, at most 2,000.
        key_space: `patch` for the whole receptive field of the layer, `channel` for single positions.
        first_seed: Seed of the first image, which the next ones follow; the default is far from those people look at.
        batch: Images in one run, fewer where memory runs out; it does not change which keys are read.
        progress: Show a progress bar.
        on_progress: Called with the number of images read so far; what it raises ends the measurement.

    Returns:
        The memory, whose sums are in float64 on the CPU.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: A number is out of range, or the layer reads values that are not finite.
        MemoryError: Not even one image fits in the memory there is.
    """
    _check(samples, key_space)
    generator.layer(layer)
    run = _Run(generator, layer, key_space, first_seed, batch)
    # The products are short: a second thread of BLAS would mostly wait, and take a core from the generator.
    with torch.no_grad(), one_blas_thread(), run.shown(samples, progress, on_progress):
        return run.until_enough() if isinstance(samples, str) else run.of(samples)


def _check(samples: int | str, key_space: str) -> None:
    if key_space not in KEY_SPACES:
        raise ValueError(f"key_space must be one of {', '.join(KEY_SPACES)}, got {key_space!r}")
    if isinstance(samples, str) and samples != AUTO:
        raise ValueError(f"samples must be a number or {AUTO}, got {samples!r}")
    if isinstance(samples, int) and samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")


class _Run:
    """One measurement."""

    def __init__(self, generator: Generator, layer: str, key_space: str, first_seed: int, batch: int):
        self.generator, self.layer, self.key_space = generator, generator.layer(layer), key_space
        self.first_seed, self.batch, self.images = first_seed, batch, 0

    @contextmanager
    def shown(self, samples: int | str, progress: bool, on_progress: Callable[[int], object] | None) -> Iterator[None]:
        """Show inside a `with` block how far the measurement is."""
        total = MOST if isinstance(samples, str) else samples
        with tqdm(total=total, desc=f"measure {self.layer.name}", unit="img", delay=1, disable=not progress) as bar:
            self._bar, self._on_progress = bar, on_progress
            yield

    def of(self, samples: int) -> Memory:
        """The memory of a number of images."""
        chosen = positions_per_image(self.layer, samples) if self.key_space == "patch" else None
        sums = Sums(self.layer, chosen, self.generator.device)
        self._read(samples, sums.add)
        return self._memory(sums.total(), sums, None)

    def until_enough(self) -> Memory:
        """The memory of as many images as the forecast needs."""
        probes = range(self.first_seed + MOST, self.first_seed + MOST + Halves.PROBES)
        halves = Halves(self.layer, self.key_space, self.generator.device)
        for part, cut in in_batches(probes, self.batch, self._cut):
            halves.ask(cut, part)
        upto = LEAST
        while True:
            self._read(upto, halves.add)
            accuracy = halves.accuracy()
            self._bar.set_postfix_str(str(accuracy), refresh=False)
            if accuracy.enough or self.images == MOST or math.isnan(accuracy.off):
                break
            least, most = (int(self.images * factor) for factor in LATER)
            upto = min(MOST, max(least, min(most, int(MARGIN * accuracy.needed))))
        self._bar.total = self.images
        return self._memory(halves.total(), halves, accuracy)

    def _read(self, upto: int, add: Callable[[Cut, tuple[int, ...]], None]) -> None:
        """Read images up to this number."""
        seeds = range(self.first_seed + self.images, self.first_seed + upto)
        for part, cut in in_batches(seeds, self.batch, self._cut):
            add(cut, part)
            self.images += len(part)
            self._bar.update(len(part))
            if self._on_progress is not None:
                self._on_progress(self.images)

    def _cut(self, seeds: tuple[int, ...]) -> Cut:
        return self.generator.cut(self.layer.name, self.generator.latents(seeds))

    def _memory(self, total: torch.Tensor, sums: Sums | Halves, accuracy: Accuracy | None) -> Memory:
        if not torch.isfinite(total).all():
            raise ValueError(
                f"layer {self.layer.name} reads values that are not finite: the generator's weights are damaged"
            )
        return Memory(
            total=total,
            count=sums.count,
            style_power=sums.style_power.cpu(),
            images=self.images,
            layer=self.layer.name,
            key_space=self.key_space,
            model=self.generator.fingerprint,
            truncation=self.generator.truncation,
            label=self.generator.label,
            noise=self.generator.noise,
            seeds=((self.first_seed, self.first_seed + self.images),),
            accuracy=accuracy,
        )
