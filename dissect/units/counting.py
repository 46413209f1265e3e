"""How a dissection is made: levels first, then every image once, in shards whose labels are exchanged for the null."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int16
from torch import Tensor

from dissect.units.dissection import (
    KIND,
    UNITS,
    Dissection,
    about_of,
    dissections_of,
    is_of_first_version,
    load_dissections,
    save_dissections,
    tensors_of,
)
from dissect.units.informative import TAILS, Graded, candidates
from dissect.units.levels import Greatest, above_level
from dissect.units.probe import LEVEL_SAMPLES, Probe
from dissect.units.tally import Tally, tally_of
from dissect.units.tops import Tops
from dissect.units.upsampling import SAMPLED, Lit, sampled_pixels, upsampling
from rewrite.generators.batches import in_batches
from rewrite.generators.layers import grid_of
from rewrite.progress import stage_bar
from rewrite.shards.crew import batches_done
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger, Stage, Tensors

TAIL = 0.01
# Pixels of an image from which the candidates of informative levels are taken.
CANDIDATES_FROM = 64
BATCH = 16


def dissect(
    probe: Probe,
    samples: int = 1000,
    *,
    tail: float = TAIL,
    level_samples: int = LEVEL_SAMPLES,
    informative: bool = False,
    state: Path | None = None,
    progress: bool = False,
) -> dict[str, Dissection]:
    """Count how the units of a probe agree with concepts.

    Args:
        probe: What to look at.
        samples: How many images to count.
        tail: A unit's level is what this share of its activations passes.
        level_samples: How many images, apart from those, the levels are taken from.
        informative: Whether to also look for the most informative level of each unit and concept; takes longer.
        state: A file that keeps the counts while they grow: a run that was ended goes on from there. It stays when all
            is done.
        progress: Show a progress bar.

    Returns:
        The dissection of each view of the probe, by name.

    Raises:
        ValueError: Numbers are out of range, activations are not finite, or `state` belongs to another run.
    """
    ledger, numbers = begin(
        probe,
        samples,
        tail=tail,
        level_samples=level_samples,
        informative=informative,
        state=state,
        progress=progress,
    )
    return count(ledger, probe, numbers)


def begin(
    probe: Probe,
    samples: int,
    *,
    tail: float = TAIL,
    level_samples: int = LEVEL_SAMPLES,
    informative: bool = False,
    state: Path | None = None,
    progress: bool = False,
) -> tuple[Ledger, Sequence[int]]:
    """Choose the levels, or take up what `state` keeps. See `dissect`.

    Returns:
        What is known so far, and the numbers of all images that are to be counted.
    """
    if samples < 2 or level_samples < 1:
        raise ValueError(
            f"a dissection needs two images or more, and one for levels, got {samples} and {level_samples}"
        )
    level_numbers, numbers = probe.split(samples, level_samples)
    identity = {**probe.identity, "tail": tail, "level_samples": level_samples, "informative": informative}
    if state is not None and state.exists() and is_of_first_version(state):
        save_dissections(state, load_dissections(state))
    ledger = ledger_of(probe, state, identity, progress)
    if UNITS not in ledger.stages:
        found = _greatest(probe, level_numbers, (tail, max(TAILS)) if informative else (tail,), progress)
        start(ledger, {view: _uncounted(probe, view, found[view], tail) for view in probe.units})
    return ledger, numbers


def ledger_of(probe: Probe, path: Path | None, identity: Mapping[str, Any], progress: bool) -> Ledger:
    """What keeps the counts of a probe."""
    return Ledger(path, identity, KIND, about=about_of(probe.units, probe.concepts), progress=progress)


def start(ledger: Ledger, uncounted: Mapping[str, Dissection]) -> None:
    """Keep the levels, before any image is counted."""
    ledger.stages[UNITS] = Stage(tensors_of(uncounted))
    ledger.save()


def count(ledger: Ledger, probe: Probe, numbers: Sequence[int]) -> dict[str, Dissection]:
    """Count the images that the ledger lacks, shard by shard. See `dissect`."""

    def known(tensors: Tensors) -> dict[str, Dissection]:
        return dissections_of(Stage(tensors), ledger.about)

    def joined(ours: Tensors, theirs: Tensors) -> Tensors:
        more = known(theirs)
        return tensors_of({view: one + more[view] for view, one in known(ours).items()})

    uncounted = {view: one.emptied() for view, one in known(ledger.stages[UNITS].tensors).items()}
    counting = Work(tensors_of_shard, probe, probe.network, (uncounted,), {"on_progress": ledger.seen})
    ledger.over(UNITS, numbers, counting, join=joined)
    return dissections_of(ledger.stages[UNITS], ledger.about)


def tensors_of_shard(
    probe: Probe,
    shard: Sequence[int],
    uncounted: Mapping[str, Dissection],
    on_progress: Callable[[int], Any] = lambda images: None,
) -> Tensors:
    """The counts of one shard, as a ledger keeps them."""
    return tensors_of(_counted(uncounted, probe, shard, on_progress))


def _greatest(
    probe: Probe, numbers: Sequence[int], tails: Sequence[float], progress: bool
) -> dict[str, tuple[Greatest, ...]]:
    """The greatest upsampled activations, at a sample of pixels of each image that depends on its number.

    Args:
        probe: What gives activations.
        numbers: The images.
        tails: The largest tail of the levels, and that of the candidates where they are wanted; those are many, so that
            fewer pixels of an image serve for them.
        progress: Show a progress bar.
    """
    height, width = probe.observe(numbers[:1]).labels.shape[-2:]
    size = (int(height), int(width))
    pixels = [min(sampled_pixels(numbers[:1], size).numel(), most) for most in (SAMPLED, CANDIDATES_FROM)]
    how = [(count, above_level(tail, count * len(numbers)) + 1) for count, tail in zip(pixels, tails, strict=False)]
    found: dict[str, tuple[Greatest, ...]] = {}
    with stage_bar(len(numbers), "levels", shown=progress) as bar:
        for part, more in batches_done(Work(greatest_of, probe, probe.network, (size, how)), numbers, BATCH):
            for view, theirs in more.items():
                ours = found.get(view)
                found[view] = theirs if ours is None else tuple(a + b for a, b in zip(ours, theirs, strict=True))
            bar.update(len(part))
    return found


def greatest_of(
    probe: Probe, numbers: Sequence[int], size: tuple[int, int], how: Sequence[tuple[int, int]]
) -> dict[str, tuple[Greatest, ...]]:
    """The same of some of the images.

    Args:
        probe: What gives activations.
        numbers: The images.
        size: Of an image.
        how: For each sample the number of pixels of an image, and how many values are kept of all.
    """
    found: dict[str, tuple[Greatest, ...]] = {}
    for view, maps in probe.activations(numbers).items():
        chosen = sampled_pixels(numbers, size).to(maps.device)
        values = upsampling(grid_of(maps), size, maps.device).at(maps, chosen)
        found[view] = tuple(
            Greatest.empty(maps.shape[1], keep, maps.device).seeing(values[..., :count].transpose(0, 1).flatten(1))
            for count, keep in how
        )
    return found


def _uncounted(probe: Probe, view: str, found: Sequence[Greatest], tail: float) -> Dissection:
    """A view with its levels, before any image is counted; with candidate levels where there is a second sample."""
    (greatest, *more), units = found, probe.units[view]
    return Dissection(
        view=view,
        concepts=probe.concepts,
        levels=greatest.level(tail).cpu(),
        far_fewer=greatest.far_fewer(tail).cpu(),
        tally=Tally.empty(units, probe.concepts),
        tops=Tops.empty(units),
        grades=candidates(more[0]).cpu() if more else None,
        graded=Graded.empty(units, len(probe.concepts)) if more else None,
    )


def _counted(
    run: Mapping[str, Dissection], probe: Probe, shard: Sequence[int], on_progress: Callable[[int], Any]
) -> dict[str, Dissection]:
    """The counts of one shard; `on_progress` gets the number of images after each batch."""
    lit: dict[str, list[Lit]] = {view: [] for view in run}
    run, labels, before = dict(run), [], 0
    for part, observed in in_batches(shard, BATCH, probe.observe):
        labels.append(observed.labels.to(next(iter(observed.activations.values())).device))
        for view, maps in observed.activations.items():
            found = _lit(run[view], maps, labels[-1])
            lit[view].append(found._replace(images=found.images + before))
            run[view] = _seeing(run[view], maps, labels[-1], part)
        before += len(part)
        on_progress(len(part))
    together = torch.cat(labels)
    for view, parts in lit.items():
        found = Lit(*(torch.cat(lists) for lists in zip(*parts, strict=True)))
        tally = tally_of(found, together, len(run[view].levels), run[view].concepts)
        run[view] = replace(run[view], tally=tally)
    return run


def _lit(one: Dissection, maps: Float[Tensor, "images units height width"], labels: Tensor) -> Lit:
    """Where units pass their levels.

    Raises:
        ValueError: Activations are not finite.
    """
    if not torch.isfinite(maps).all():
        raise ValueError(f"the activations of {one.view} are not finite: the network's weights are damaged")
    grids = tuple(maps.shape[-2:]), tuple(labels.shape[-2:])
    return upsampling(*grids, maps.device).above(maps, one.levels.to(maps.device))


def _seeing(
    one: Dissection,
    maps: Float[Tensor, "images units height width"],
    labels: Int16[Tensor, "images layers rows columns"],
    numbers: Sequence[int],
) -> Dissection:
    """A view with the greatest activations of more images, and their counts at the candidate levels."""
    tops = one.tops + Tops.of(maps.amax(dim=(2, 3)), numbers)
    if one.graded is None or one.grades is None:
        return replace(one, tops=tops)
    return replace(one, tops=tops, graded=one.graded.seeing(maps, labels, numbers, one.grades.to(maps.device)))
