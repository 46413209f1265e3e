"""What would arrive in a marked image without its marks: settings are judged by images that they were not solved on.

With the demodulation held, the solution is linear in what is wanted. The solution without some images is that of the
sums without theirs, Δ = (G - Gᵢ)(H - Hᵢ)⁻¹ with H = M + K A Kᵀ and G = R A Kᵀ, so that the keys are summed once for
all settings.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rewrite.generators.layers import Part
from rewrite.rules.settings import Settings
from rewrite.solvers import algebra
from rewrite.solvers.kernel import Kernel
from rewrite.solvers.problem import Problem
from rewrite.solvers.spectrum import Spectrum
from rewrite.solvers.systems import Read
from rewrite.solvers.trial import Trial

MOST_FOLDS = 4
# Changes that are smaller than this share do not count: a layer with few cells may have no place to change beside.
LEAST_BESIDE = 0.01
# Of the hard negatives of a layer of long keys, one in so many stands for all.
THINNED = 2


@dataclass(frozen=True)
class LeftOut:
    """What solutions do in marked images that they were not solved on.

    Attributes:
        arrives: Share of the wanted change that arrives there, along that change: 1 is all of it.
        beside: Relative change away from the marks there, ‖v - v₀‖ / ‖v₀‖.
        each: What arrives in each part of the images that was left out.
    """

    arrives: float
    beside: float
    each: tuple[float, ...]

    @property
    def worth(self) -> float:
        """What arrives for what changes beside it."""
        return worth_of(self.arrives, self.beside)


def worth_of(arrives: float, beside: float) -> float:
    """What arrives, squared, for what changes beside it: a tenth less may arrive where a fifth less changes."""
    return max(0.0, arrives) ** 2 / max(beside, LEAST_BESIDE)


def folds_of(problem: Problem, most: int = MOST_FOLDS) -> list[tuple[int, ...]]:
    """The images with places, one by one, or in `most` parts of about the same size where there are more."""
    images = problem.goal.wanted.image.unique().tolist()
    return [tuple(images[start::most]) for start in range(min(most, len(images)))]


class Refits:
    """Solutions of a problem without parts of its images. What does not depend on the settings is computed once.

    Attributes:
        problem: The problem with all its marked images.
        folds: The images that are left out together.
    """

    def __init__(self, problem: Problem, folds: Sequence[tuple[int, ...]]) -> None:
        self.problem, self.folds = problem, folds
        spectra = [problem.spectrum(number) for number in range(len(problem.parts))]
        self._parts = [
            _Sums(problem, part) if spectrum is None else _Kernels(problem, part, spectrum)
            for part, spectrum in zip(problem.parts, spectra, strict=True)
        ]

    def of(self, folds: Sequence[tuple[int, ...]]) -> "Refits":
        """The same for fewer parts of the images."""
        some = copy.copy(self)
        some.folds = folds
        return some

    def solutions(
        self, candidates: Sequence[Settings], on_refit: Callable[[], object] | None = None
    ) -> Iterator[tuple[tuple[int, ...], int, Float[Tensor, "outputs group_width"]]]:
        """Each part of the images with the number of each candidate, and the solution that knows the other parts.

        Args:
            candidates: The settings; their damage, drift, others and reach count, and quiet in proportion to others.
            on_refit: Called before each solution; may raise to end.

        Raises:
            ValueError: The second moment is singular.
        """
        kept = list(self.problem.goal.kept_units)
        for fold in self.folds:
            known = [part.without(fold) for part in self._parts]
            for number, settings in enumerate(candidates):
                if on_refit is not None:
                    on_refit()
                change = torch.zeros_like(self.problem.matrix)
                for part, solve in zip(self.problem.parts, known, strict=True):
                    change[part.rows, part.own] = solve(settings)
                change[kept] = 0
                # What is wanted is linear in the reach, and so is the solution.
                yield fold, number, change * (settings.reach / self.problem.settings.reach)


def left_out(
    refits: Refits, candidates: Sequence[Settings], on_refit: Callable[[], object] | None = None
) -> list[LeftOut]:
    """Judge settings by images that are left out, at the layer.

    Args:
        refits: The problem without parts of its images.
        candidates: The settings.
        on_refit: As `Refits.solutions` takes it, and with the same errors.
    """
    found: list[list[Judged]] = [[] for _ in candidates]
    for fold, number, change in refits.solutions(candidates, on_refit):
        found[number].append(judged_in(refits.problem, change, fold))
    return [together(judged) for judged in found]


# Solves a part with some settings.
Refit = Callable[[Settings], Float[Tensor, "outputs columns"]]


class _Refitted:
    """A part that is solved without some images, and what it is asked for before the demodulation moves.

    Attributes:
        wanted, others, protected: The keys.
        residual: What each wanted key is to get beyond what it gets now.
        weights: Weight of each wanted key.
    """

    def __init__(self, problem: Problem, part: Part) -> None:
        self.problem, self.part = problem, part
        sets = (problem.wanted, problem.others, problem.protected)
        self.wanted, self.others, self.protected = (Read.of(at, part) for at in sets)
        first, there = problem.first[:, part.rows], self.wanted.there
        relative = (first / first.mean(dim=0)).square().mean(dim=1)
        self.weights = self.wanted.weights * relative[self.wanted.image]
        targets = problem.goal.targets[there][:, part.rows]
        self.residual = targets / first[self.wanted.image] - self.wanted.written

    def others_share(self, settings: Settings) -> float:
        """The weight of the hard negatives in some settings, beside that of the problem's own."""
        own = self.problem.settings.others
        return settings.others / own if own else 1.0


class _Sums(_Refitted):
    """A part that is refitted over the entries of its keys: by the sums of all images less those that are left out."""

    def __init__(self, problem: Problem, part: Part) -> None:
        super().__init__(problem, part)
        self.whole = self._sums(None)

    def _sums(self, images: Sequence[int] | None) -> tuple[Tensor, Tensor, Tensor]:
        """K A Kᵀ of what is kept and of the hard negatives, and R A Kᵀ, over some images."""
        here = _within(self.wanted.image, images)
        keys, weights = self.wanted.keys[here], self.weights[here]
        kept = algebra.gram(keys, weights) + self.problem.protect * _gram(self.protected, images)
        return kept, _gram(self.others, images), self.residual[here].T @ (weights[:, None] * keys)

    def without(self, fold: Sequence[int]) -> Refit:
        """Solve without some images."""
        kept, others, pulled = (whole - less for whole, less in zip(self.whole, self._sums(fold), strict=True))
        row = self.problem.style_row[self.part.columns]

        def solve(settings: Settings) -> Tensor:
            matrix = settings.damage * self.problem.moment_of(self.part) + kept
            matrix += self.others_share(settings) * others
            matrix.diagonal().add_(settings.drift * row)
            factor, trouble = torch.linalg.cholesky_ex(matrix)
            if trouble.item():
                raise ValueError("the second moment is singular: measure more samples, or give the drift more weight")
            return torch.cholesky_solve(pulled.T, factor).T

        return solve


class _Kernels(_Refitted):
    """A part that is refitted over its keys: those of the images that are left out are dropped from their kernel.

    Some of the hard negatives stand for all: which settings are best hardly depends on more of them.
    """

    def __init__(self, problem: Problem, part: Part, spectrum: Spectrum) -> None:
        super().__init__(problem, part)
        self.spectrum, self.others = spectrum, self.others.every(THINNED)
        reads = (self.wanted, self.others, self.protected)
        self.kernel = Kernel.of(torch.cat([*(read.keys for read in reads), spectrum.keys]), spectrum.scale)
        self.image = torch.cat([*(read.image for read in reads), torch.full([len(spectrum.keys)], -1)])

    def without(self, fold: Sequence[int]) -> Refit:
        """Solve without some images."""
        known = torch.nonzero(~_within(self.image, fold))[:, 0]
        kernel = Kernel(self.kernel.keys[known], self.kernel.gram[known[:, None], known])
        wanted = ~_within(self.wanted.image, fold)
        residual, count = self.residual[wanted], int(wanted.sum())

        def solve(settings: Settings) -> Tensor:
            ridge = settings.drift + settings.damage * self.spectrum.tail
            system = kernel.gram / ridge
            system.diagonal().add_(1 / self._weights(settings)[known].clamp(min=1e-300))
            # Only the wanted keys, which come first, ask for anything.
            asking = torch.eye(len(system), count, dtype=system.dtype)
            found = torch.cholesky_solve(asking, torch.linalg.cholesky(system))
            return kernel.sum(found @ residual) / ridge

        return solve

    def _weights(self, settings: Settings) -> Float[Tensor, " n"]:
        others = self.others.weights * self.others_share(settings)
        protected = self.protected.weights * self.problem.protect
        return torch.cat([self.weights, others, protected, settings.damage * self.spectrum.excess])


@dataclass(frozen=True)
class Judged:
    """Sums over one part of the images, with the solution that did not know it."""

    along: float
    wanted: float
    stray: float
    usual: float


def judged_in(problem: Problem, change: Tensor, fold: Sequence[int]) -> Judged:
    """What a change does in some images, with the demodulation that follows it."""
    trial, goal = Trial(problem, change), problem.goal
    here, away = (_within(keys.image, fold) for keys in (goal.wanted, goal.others))
    weights, wanted = goal.wanted.weights[here], (goal.targets - goal.wanted.values)[here] / problem.settings.reach
    # What protected units were wanted to write cannot arrive, whatever the settings.
    wanted[:, list(goal.kept_units)] = 0
    asked, others = problem.wanted.where(here), problem.others.where(away)
    moved, stray = (trial.values(at) - at.keys.values for at in (asked, others))
    return Judged(
        along=float((weights @ (moved * wanted)).sum()),
        wanted=float((weights @ wanted.square()).sum()),
        stray=float(stray.square().sum()),
        usual=float(others.keys.values.square().sum()),
    )


def together(parts: Sequence[Judged]) -> LeftOut:
    """The sums over parts of the images as shares."""
    wanted, usual = sum(part.wanted for part in parts), sum(part.usual for part in parts)
    return LeftOut(
        arrives=sum(part.along for part in parts) / max(wanted, 1e-300),
        beside=(sum(part.stray for part in parts) / max(usual, 1e-300)) ** 0.5,
        each=tuple(part.along / max(part.wanted, 1e-300) for part in parts),
    )


def _within(image: Int[Tensor, " n"], images: Sequence[int] | None) -> Bool[Tensor, " n"]:
    if images is None:
        return torch.ones(len(image), dtype=torch.bool)
    return torch.isin(image, torch.tensor(list(images)))


def _gram(read: Read, images: Sequence[int] | None) -> Float[Tensor, "key key"]:
    here = _within(read.image, images)
    return algebra.gram(read.keys[here], read.weights[here])
