"""The least-squares problem of one part of a layer, with the demodulation held: the linear solve inside each step.

A change costs M = λ C + μ D and what it does at the soft keys (hard negatives and protected ones), and each wanted key
wants its residual. The primal solver factors M with the soft keys, which is of the size of a key. Where keys are longer
than there are of them, the dual one solves a system of the number of keys, with the second moment summed up by its
largest directions (`rewrite.solvers.spectrum`), which are soft keys too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rewrite.generators.layers import Part
from rewrite.solvers import algebra
from rewrite.solvers.algebra import Metric
from rewrite.solvers.kernel import Kernel
from rewrite.solvers.mapped import Mapped
from rewrite.solvers.problem import Problem
from rewrite.solvers.spectrum import Spectrum


@dataclass(frozen=True)
class Read:
    """What a part reads of some keys: those that have entries in it.

    Attributes:
        there: Which of the keys.
        keys: Their entries.
        weights: Weight of each.
        written: What the unedited layer writes for each.
        image: Of which image of the goal each is.
    """

    there: Bool[Tensor, " all"] | slice
    keys: Float[Tensor, "n columns"]
    weights: Float[Tensor, " n"]
    written: Float[Tensor, "n outputs"]
    image: Int[Tensor, " n"]

    @classmethod
    def of(cls, at: Mapped, part: Part) -> "Read":
        """The entries of a set of keys in a part."""
        keys = at.keys.keys[:, part.columns]
        there = slice(None) if isinstance(part.own, slice) else keys.any(dim=1)
        return cls(there, keys[there], at.keys.weights[there], at.written[there][:, part.rows], at.keys.image[there])

    def every(self, step: int) -> "Read":
        """One key in so many, with the weight of all together; `there` still tells of all."""
        kept = [getattr(self, name)[::step] for name in ("keys", "weights", "written", "image")]
        share = self.weights.sum() / kept[1].sum() if len(self.weights) else 1.0
        return Read(self.there, kept[0], kept[1] * share, kept[2], kept[3])


@dataclass(frozen=True)
class Asked:
    """What a step asks for, over the outputs of a part.

    Attributes:
        residual: What each wanted key is to get beyond what it gets now.
        weights: Weight of each wanted key.
        missing: For each set of soft keys: what each is to get back, because the demodulation moved.
        share: For each output, the share that ordinary keys are to get back on average.
    """

    residual: Float[Tensor, "n outputs"]
    weights: Float[Tensor, " n"]
    missing: Sequence[Float[Tensor, "_ outputs"]]
    share: Float[Tensor, " outputs"]


@dataclass(frozen=True)
class Adds:
    """What a change of a part adds, before demodulation.

    Attributes:
        at_keys: For each set of keys that the part reads, the wanted ones last: what is added at each.
        ordinary: Δ C.
    """

    at_keys: Sequence[Float[Tensor, "_ outputs"]]
    ordinary: Float[Tensor, "outputs columns"]


@dataclass(frozen=True)
class Answer:
    """The change of a part, and what it adds where that is known."""

    change: Float[Tensor, "outputs columns"]
    adds: Adds | None = None


def metric_of(problem: Problem, part: Part, soft: Sequence[Read]) -> Metric:
    """What a change of a part costs, but for the wanted keys: M with the soft keys."""
    matrix = problem.settings.damage * problem.moment_of(part)
    matrix.diagonal().add_(problem.settings.drift * problem.style_row[part.columns])
    for read in soft:
        matrix += algebra.gram(read.keys, read.weights)
    return Metric(matrix)


class Primal:
    """A part that is solved over the entries of its keys."""

    def __init__(self, problem: Problem, part: Part) -> None:
        self.problem, self.part = problem, part
        self.wanted, self.soft = Read.of(problem.wanted, part), [Read.of(at, part) for at in problem.soft]
        self.reads = [*self.soft, self.wanted]
        self.fixed = Read.of(problem.protected, part).keys if problem.exact and not problem.modulated else None

    @cached_property
    def metric(self) -> Metric:
        """What a change costs, but for the wanted keys."""
        return metric_of(self.problem, self.part, self.soft)

    def solve(self, asked: Asked) -> Answer:
        """The change of the part."""
        wanted, pull = self.wanted, None
        if self.problem.modulated:
            usual = self.problem.usual[self.part.rows, self.part.own]
            pull = self.problem.settings.damage * asked.share[:, None] * usual
            for read, missing in zip(self.soft, asked.missing, strict=True):
                pull = pull + (read.weights[:, None] * missing[read.there]).T @ read.keys
        residual, weights = asked.residual[wanted.there], asked.weights[wanted.there]
        return Answer(algebra.minimise(self.metric, wanted.keys, residual, weights, fixed=self.fixed, pull=pull))


class Dual:
    """A part that is solved over its keys, of which there are fewer than entries."""

    def __init__(self, problem: Problem, number: int, spectrum: Spectrum) -> None:
        part = problem.parts[number]
        self.problem, self.number, self.part, self.spectrum = problem, number, part, spectrum
        self.wanted = Read.of(problem.wanted, part)
        self.soft = [Read.of(at, part) for at in problem.soft]
        self.reads = [*self.soft, self.wanted]
        self.matrix = problem.matrix[part.rows, part.own]
        settings = problem.settings
        self.ordinary = settings.damage * spectrum.excess
        self.ridge = settings.drift + settings.damage * spectrum.tail
        # Of the price of a direction that no key has, the share that is of ordinary keys.
        self.usual = settings.damage * spectrum.tail / self.ridge

    @cached_property
    def kernel(self) -> "Kernel":
        """The soft keys, those of the second moment among them, and the wanted ones."""
        keys = torch.cat([self.spectrum.keys, *(read.keys for read in self.reads)])
        known = self.problem.known.kernels
        known[self.number] = Kernel.of(keys, self.spectrum.scale, known.get(self.number))
        return known[self.number]

    @cached_property
    def _gram(self) -> Float[Tensor, "n n"]:
        return self.kernel.gram / self.ridge

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        """The lower factor of the system of the soft keys, and it solved for the wanted ones."""
        system, soft = self._gram.clone(), len(self._slack)
        system.diagonal()[:soft] += self._slack
        factor = torch.linalg.cholesky(system[:soft, :soft])
        return factor, torch.linalg.solve_triangular(factor, system[:soft, soft:], upper=False)

    @cached_property
    def _slack(self) -> Float[Tensor, " soft"]:
        """One by the weight of each soft key."""
        return 1 / torch.cat([self.ordinary, *(read.weights for read in self.soft)]).clamp(min=1e-300)

    def solve(self, asked: Asked) -> Answer:
        """The change of the part, and what it adds at its keys: what was asked for, less what the system left."""
        factor, across = self._factors
        soft, usual = len(factor), self.usual * asked.share
        written = self.spectrum.keys @ self.matrix.T
        pairs = [(written, written * asked.share)]
        pairs += [(read.written, missing[read.there]) for read, missing in zip(self.soft, asked.missing, strict=True)]
        pairs += [(self.wanted.written, asked.residual[self.wanted.there])]
        missing = torch.cat([each for _, each in pairs])
        wants = missing - torch.cat([usual * each for each, _ in pairs])
        slack = torch.cat([self._slack, 1 / asked.weights[self.wanted.there].clamp(min=1e-300)])
        first = torch.linalg.solve_triangular(factor, wants[:soft], upper=False)
        inner = self._gram[soft:, soft:] - across.T @ across
        inner.diagonal().add_(slack[soft:])
        last = torch.cholesky_solve(wants[soft:] - across.T @ first, torch.linalg.cholesky(inner))
        found = torch.cat([torch.linalg.solve_triangular(factor.T, first - across @ last, upper=True), last])
        change = self.kernel.sum(found) / self.ridge + usual[:, None] * self.matrix
        reached, *at_keys = (missing - slack[:, None] * found).split([len(each) for each, _ in pairs])
        return Answer(change, Adds(at_keys, self.spectrum.through(change, reached.T)))


def systems_of(problem: Problem) -> list[Primal | Dual]:
    """The solver of each part, over its keys or over their entries."""
    found = []
    for number, part in enumerate(problem.parts):
        spectrum = problem.spectrum(number)
        found.append(Primal(problem, part) if spectrum is None else Dual(problem, number, spectrum))
    return found
