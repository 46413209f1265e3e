"""What would arrive in a marked image without its marks: settings are judged by images that they were not solved on.

With the demodulation held, the solution is linear in what is wanted. The solution without some images is that of the
sums without theirs, Δ = (G - Gᵢ)(H - Hᵢ)⁻¹ with H = M + K A Kᵀ and G = R A Kᵀ, so that the keys are summed once for
all settings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.goals.keys import Keys
from rewrite.rules.rule import Settings
from rewrite.solvers.problem import Problem

MOST_FOLDS = 4
# Changes that are smaller than this share do not count: a layer with few cells may have no place to change beside.
LEAST_BESIDE = 0.01


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
    """Solutions of a problem without parts of its images. The sums over all images are made once.

    Attributes:
        problem: The problem with all its marked images.
        folds: The images that are left out together.
    """

    def __init__(self, problem: Problem, folds: Sequence[tuple[int, ...]]) -> None:
        self.problem, self.folds = problem, folds
        self._wholes = [_Sums.of(problem, rows, columns, None) for rows, columns in problem.layer.blocks()]

    def solutions(
        self, candidates: Sequence[Settings], on_refit: Callable[[], object] | None = None
    ) -> Iterator[tuple[tuple[int, ...], int, Float[Tensor, "outputs group_width"]]]:
        """Each part of the images with the number of each candidate, and the solution that knows the other parts.

        Args:
            candidates: The settings; their damage, drift and others count, and quiet in proportion to others.
            on_refit: Called before each solution; may raise to end.

        Raises:
            ValueError: The second moment is singular.
        """
        blocks, kept = self.problem.layer.blocks(), list(self.problem.goal.kept_units)
        for fold in self.folds:
            parts = [_Sums.of(self.problem, rows, columns, fold) for rows, columns in blocks]
            for number, settings in enumerate(candidates):
                if on_refit is not None:
                    on_refit()
                pairs = zip(self._wholes, parts, strict=True)
                change = torch.cat([whole.without(part, settings) for whole, part in pairs])
                change[kept] = 0
                yield fold, number, change


def left_out(
    refits: Refits, candidates: Sequence[Settings], on_refit: Callable[[], object] | None = None
) -> list[LeftOut]:
    """Judge settings by images that are left out, at the layer.

    Args:
        refits: The problem without parts of its images.
        candidates: The settings.
        on_refit: As `Refits.solutions` takes it, and with the same errors.
    """
    found: list[list[_Judged]] = [[] for _ in candidates]
    for fold, number, change in refits.solutions(candidates, on_refit):
        found[number].append(_judged(refits.problem, change, fold))
    return [_together(judged) for judged in found]


@dataclass(frozen=True)
class _Sums:
    """The sums over some images that a solution of one group is made of.

    Attributes:
        kept: K A Kᵀ of the wanted keys, and of the protected ones.
        pulled: R A Kᵀ of the wanted keys.
        others: The same sum as the first over the hard negatives, as they are weighed in the goal.
    """

    problem: Problem
    columns: slice
    kept: Float[Tensor, "key key"]
    pulled: Float[Tensor, "outputs key"]
    others: Float[Tensor, "key key"]

    @classmethod
    def of(cls, problem: Problem, rows: slice, columns: slice, images: Sequence[int] | None) -> "_Sums":
        goal, first = problem.goal, problem.first[:, rows]
        relative = (first / first.mean(dim=0)).square().mean(dim=1)
        here = _within(goal.wanted, images)
        keys, image = goal.wanted.keys[here][:, columns], goal.wanted.image[here]
        weighed = keys * (goal.wanted.weights[here] * relative[image])[:, None]
        residual = goal.targets[here][:, rows] / first[image] - problem.wanted.written[here][:, rows]
        kept = keys.T @ weighed + problem.protect * _gram(goal.protected, columns, images)
        return cls(problem, columns, kept, residual.T @ weighed, _gram(goal.others, columns, images))

    def without(self, part: "_Sums", settings: Settings) -> Float[Tensor, "outputs key"]:
        """The solution from these sums less those of a part of them."""
        problem, columns = self.problem, self.columns
        others = settings.others / problem.settings.others if problem.settings.others else 1.0
        matrix = settings.damage * problem.moment[columns, columns] + (self.kept - part.kept)
        matrix += others * (self.others - part.others)
        matrix.diagonal().add_(settings.drift * problem.style_row[columns])
        factor, trouble = torch.linalg.cholesky_ex(matrix)
        if trouble.item():
            raise ValueError("the second moment is singular: measure more samples, or give the drift more weight")
        return torch.cholesky_solve((self.pulled - part.pulled).T, factor).T


@dataclass(frozen=True)
class _Judged:
    """Sums over one part of the images, with the solution that did not know it."""

    along: float
    wanted: float
    stray: float
    usual: float


def _judged(problem: Problem, change: Tensor, fold: Sequence[int]) -> _Judged:
    """What a change does in some images, with the demodulation that follows it."""
    trial, goal = problem.tried(change), problem.goal
    here, away = _within(goal.wanted, fold), problem.others.where(_within(goal.others, fold))
    weights, wanted = goal.wanted.weights[here], (goal.targets - goal.wanted.values)[here]
    # What protected units were wanted to write cannot arrive, whatever the settings.
    wanted[:, list(goal.kept_units)] = 0
    moved, stray = (trial.wanted - goal.wanted.values)[here], trial.values(away) - away.keys.values
    return _Judged(
        along=float((weights @ (moved * wanted)).sum()),
        wanted=float((weights @ wanted.square()).sum()),
        stray=float(stray.square().sum()),
        usual=float(away.keys.values.square().sum()),
    )


def _together(parts: Sequence[_Judged]) -> LeftOut:
    wanted, usual = sum(part.wanted for part in parts), sum(part.usual for part in parts)
    return LeftOut(
        arrives=sum(part.along for part in parts) / max(wanted, 1e-300),
        beside=(sum(part.stray for part in parts) / max(usual, 1e-300)) ** 0.5,
        each=tuple(part.along / max(part.wanted, 1e-300) for part in parts),
    )


def _within(keys: Keys, images: Sequence[int] | None) -> Bool[Tensor, " n"]:
    if images is None:
        return torch.ones(len(keys), dtype=torch.bool)
    return torch.isin(keys.image, torch.tensor(list(images)))


def _gram(keys: Keys, columns: slice, images: Sequence[int] | None) -> Float[Tensor, "key key"]:
    here = _within(keys, images)
    rows = keys.keys[here][:, columns]
    return rows.T @ (rows * keys.weights[here][:, None])
