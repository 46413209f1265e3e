"""Memories that were measured before: kept in the user's cache folder, so that a second solve starts at once."""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from apps.estimates import foretell
from rewrite import Memory, measure
from rewrite.generators.classes import Label
from rewrite.generators.contract import Generator
from rewrite.memory import unfinished
from rewrite.memory.measurement import FIRST_SEED, Measurement
from rewrite.storage.caches import cache_folder
from rewrite.version import __version__

# Of a memory, by `cached_path`, finished or not: files of the user's may lie in the same folder.
NAME = re.compile(r"[0-9a-f]{16}-.+-(patch|channel)-[^-]+-truncation.+\.safetensors")


def cached_path(generator: Generator, layer: str, samples: int | str, key_space: str, fingerprint: str = "") -> Path:
    """The file of one memory: its name holds everything that the numbers depend on.

    Args:
        generator: The generator.
        layer: Name of the layer.
        samples: Number of images, or `auto`.
        key_space: `patch` or `channel`.
        fingerprint: That of the generator, where it is known or the generator is edited now.
    """
    noise = generator.noise or "none"
    parts = (
        fingerprint or generator.fingerprint,
        layer,
        key_space,
        samples,
        f"truncation{generator.truncation:g}",
        noise,
        *(() if generator.label == 0 else (f"class{_short(generator.label)}",)),
    )
    return cache_folder() / f"{'-'.join(map(str, parts))}-{__version__}.safetensors"


def kept() -> list[Path]:
    """All memories in the cache, and what was summed for unfinished ones, of any version of the library."""
    return sorted(path for path in cache_folder().glob("*.safetensors") if NAME.fullmatch(path.name))


def _short(label: Label) -> Label:
    """A label, or what stands for a long one in the name of a file."""
    return hashlib.sha256(label.encode()).hexdigest()[:12] if isinstance(label, str) else label


def memory_of(
    generator: Generator,
    layer: str,
    samples: int | str,
    key_space: str = "patch",
    *,
    progress: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Memory:
    """The memory of a layer: from the cache if it is there and right, measured (and kept) otherwise.

    What `on_progress` raises ends a measurement, as in `rewrite.measure`; nothing is kept of it. Without it, a
    measurement that Ctrl-C ends keeps its sums beside the file of the memory, and the next goes on from them.

    A cache that cannot be read or written is no reason to fail: stderr says so, and the work is done.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The numbers are out of range.
    """
    generator.layer(layer)
    try:
        path = cached_path(generator, layer, samples, key_space)
    except ValueError as error:
        print(f"the memory is not kept: {error}", file=sys.stderr)
        return measure(generator, layer, samples, key_space=key_space, progress=progress, on_progress=on_progress)
    if path.is_file():
        try:
            return _checked(Memory.load(path), generator, layer, samples, key_space)
        except ValueError as error:
            print(f"the kept memory is not used: {error}", file=sys.stderr)
    measurement = Measurement(generator, layer, samples, key_space=key_space)
    if on_progress is not None:
        memory = measurement.memory(progress=progress, on_progress=on_progress)
        on_progress(memory.images)  # a stop that came while the last images were summed counts too
    else:
        memory = _gone_on(measurement, unfinished.beside(path), progress)
    try:
        memory.save(path)
    except ValueError as error:
        print(f"the memory is not kept: {error}", file=sys.stderr)
    return memory


def _gone_on(measurement: Measurement, state: Path, progress: bool) -> Memory:
    """The memory of a measurement that goes on from what an ended one left, and that Ctrl-C may end."""
    try:
        measurement.go_on(state)
    except ValueError as error:
        print(f"what was summed before is not used: {error}", file=sys.stderr)
    if progress:
        foretell(measurement.generator, measurement.least - measurement.images)
    with measurement.kept(state):
        return measurement.memory(progress=progress)


def _checked(memory: Memory, generator: Generator, layer: str, samples: int | str, key_space: str) -> Memory:
    memory.check(generator, layer)
    if isinstance(samples, str) and memory.accuracy is None:
        raise ValueError("it does not say how accurate it is")
    images = memory.images if isinstance(samples, str) else samples
    expected = (key_space, ((FIRST_SEED, FIRST_SEED + images),))
    if (memory.key_space, memory.seeds) != expected:
        raise ValueError(f"it holds {memory.key_space} keys of seeds {memory.seeds}")
    return memory
