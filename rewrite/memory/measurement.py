"""Measuring a memory: on as many images as are asked for, or on as many as its forecast needs."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.interrupts import held_off, raised_as_such
from rewrite.memory import unfinished
from rewrite.memory.accuracy import Accuracy, Halves, HalvesReader
from rewrite.memory.memory import Memory
from rewrite.memory.sums import Reader, Sums, positions_per_image
from rewrite.progress import stage_bar
from rewrite.rules.settings import KEY_SPACES
from rewrite.shards.crew import batches_done
from rewrite.shards.work import Work
from rewrite.storage.quoting import lacking, quoted
from rewrite.threads import one_blas_thread
from rewrite.version import __version__

FIRST_SEED = 1_000_000
AUTO = "auto"
# The most images that `auto` reads, and those after which it first asks whether they are enough: what is rare in images
# is not seen in fewer.
MOST, LEAST = 2000, 200
# Of what the layer reads of the images of one run: larger maps are read in smaller batches, which take no longer.
MOST_VALUES = 2**23
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
        batch: The most images in one run, fewer of large maps; it does not change which keys are read.
        progress: Show a progress bar.
        on_progress: Called with the number of images read so far; what it raises ends the measurement.

    Returns:
        The memory, whose sums are in float64 on the CPU.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: A number is out of range, or the layer reads values that are not finite.
        MemoryError: Not even one image fits in the memory there is.
    """
    measurement = Measurement(generator, layer, samples, key_space=key_space, first_seed=first_seed, batch=batch)
    return measurement.memory(progress=progress, on_progress=on_progress)


def _check(samples: int | str, key_space: str) -> None:
    if key_space not in KEY_SPACES:
        raise ValueError(f"key_space must be one of {', '.join(KEY_SPACES)}, got {quoted(key_space)}")
    if isinstance(samples, str) and samples != AUTO:
        raise ValueError(f"samples must be a number or {AUTO}, got {quoted(samples)}")
    if isinstance(samples, int) and samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")


@torch.no_grad()
def read_of(generator: Generator, seeds: Sequence[int], layer: str, reader: Reader | HalvesReader) -> Any:
    """The keys of some images."""
    return reader(generator.cut(layer, generator.latents(seeds)), seeds)


class Measurement:
    """A measurement that can be ended and gone on with. See `measure`.

    Attributes:
        images: Number of images read so far.
    """

    def __init__(
        self,
        generator: Generator,
        layer: str,
        samples: int | str = AUTO,
        *,
        key_space: str = "patch",
        first_seed: int = FIRST_SEED,
        batch: int = 16,
    ):
        _check(samples, key_space)
        self.generator, self.layer, self.key_space = generator, generator.layer(layer), key_space
        self.samples, self.first_seed, self.images = samples, first_seed, 0
        self.batch = max(1, min(batch, MOST_VALUES // (self.layer.inputs * math.prod(self.layer.grid))))
        self._upto = self.least
        self._sums: Sums | Halves = self._begun()

    def _begun(self) -> Sums | Halves:
        if isinstance(self.samples, str):
            return Halves(self.layer, self.key_space, self.generator.device)
        chosen = positions_per_image(self.layer, self.samples) if self.key_space == "patch" else None
        return Sums(self.layer, chosen, self.generator.device)

    @property
    def most(self) -> int:
        """How many images are read at most."""
        return MOST if isinstance(self.samples, str) else self.samples

    @property
    def least(self) -> int:
        """How many images are read at least."""
        return LEAST if isinstance(self.samples, str) else self.samples

    def memory(self, *, progress: bool = False, on_progress: Callable[[int], object] | None = None) -> Memory:
        """Read the images that were not read yet. See `measure`."""
        # The products are short: a second thread of BLAS would mostly wait, and take a core from the generator.
        with torch.no_grad(), one_blas_thread(), self._shown(progress, on_progress):
            if isinstance(self._sums, Halves):
                return self._until_enough(self._sums)
            self._read(self._upto)
            return self._memory(self._sums.total(), None)

    @contextmanager
    def kept(self, path: Path) -> Iterator[None]:
        """Keep in a file what was summed if the user ends the `with` block; at its end, the file is taken away.

        Raises:
            KeyboardInterrupt: The user ended it; the message says how to go on.
        """
        try:
            with raised_as_such():
                yield
        except KeyboardInterrupt:
            if not self.images:
                raise
            try:
                unfinished.save(path, self.identity, self._sums.tensors(), self.images, self._upto)
            except ValueError as error:
                raise KeyboardInterrupt(f"what was summed is not kept: {error}") from None
            raise KeyboardInterrupt(
                f"the sums over {self.images} images are in {path}: the same command goes on from there"
            ) from None
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def go_on(self, path: Path) -> None:
        """Take up what a file keeps of this measurement, if there is one.

        Raises:
            ValueError: The file is damaged, or of another measurement.
        """
        if not path.exists():
            return
        tensors, images, upto = unfinished.load(path, self.identity)
        try:
            if not 0 < images <= upto <= self.most:
                raise ValueError(f"it says that {images} images of {upto} were read")
            self._sums.take(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            self._sums = self._begun()
            raise ValueError(f"{path} is damaged: {lacking(error)}; delete it to begin anew") from None
        self.images, self._upto = images, upto

    @property
    def identity(self) -> dict[str, Any]:
        """What the sums depend on."""
        generator = self.generator
        return {
            "model": generator.fingerprint,
            "layer": self.layer.name,
            "key_space": self.key_space,
            "samples": self.samples,
            "truncation": generator.truncation,
            "label": generator.label,
            "noise": generator.noise,
            "first_seed": self.first_seed,
            "library": __version__,
        }

    @contextmanager
    def _shown(self, progress: bool, on_progress: Callable[[int], object] | None) -> Iterator[None]:
        """Show inside a `with` block how far the measurement is."""
        with stage_bar(self.most, f"measure {self.layer.name}", done=self.images, shown=progress) as bar:
            self._bar, self._on_progress = bar, on_progress
            yield

    def _until_enough(self, halves: Halves) -> Memory:
        """The memory of as many images as the forecast needs."""
        probes = range(self.first_seed + MOST, self.first_seed + MOST + Halves.PROBES)
        for part, cut in in_batches(probes, self.batch, self._cut):
            halves.ask(cut, part)
        while True:
            self._read(self._upto)
            accuracy = halves.accuracy()
            self._bar.set_postfix_str(str(accuracy), refresh=False)
            if accuracy.enough or self.images == MOST or math.isnan(accuracy.off):
                break
            least, most = (int(self.images * factor) for factor in LATER)
            self._upto = min(MOST, max(least, min(most, int(MARGIN * accuracy.needed))))
        self._bar.total = self.images
        return self._memory(halves.total(), accuracy)

    def _read(self, upto: int) -> None:
        """Read images up to this number."""
        seeds = range(self.first_seed + self.images, self.first_seed + upto)
        reading = Work(read_of, self.generator, self.generator, (self.layer.name, self._sums.reader))
        for part, read in batches_done(reading, seeds, self.batch):
            with held_off():
                self._sums.add_read(read)
                self.images += len(part)
            self._bar.update(len(part))
            if self._on_progress is not None:
                self._on_progress(self.images)

    def _cut(self, seeds: tuple[int, ...]) -> Cut:
        return self.generator.cut(self.layer.name, self.generator.latents(seeds))

    def _memory(self, total: torch.Tensor, accuracy: Accuracy | None) -> Memory:
        if not torch.isfinite(total).all():
            raise ValueError(
                f"layer {self.layer.name} reads values that are not finite: the generator's weights are damaged"
            )
        return Memory(
            total=total,
            count=self._sums.count,
            style_power=self._sums.style_power.cpu(),
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
