"""What an edit of one layer is to achieve and what it costs, in numbers: what every solver minimises."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rewrite.generators.demodulation import demodulation_of
from rewrite.generators.layers import Layer, Part
from rewrite.generators.network import Network
from rewrite.goals.goal import Goal
from rewrite.goals.keys import Keys
from rewrite.memory import Memory
from rewrite.rules.settings import Settings
from rewrite.solvers.kernel import Kernel
from rewrite.solvers.mapped import Mapped
from rewrite.solvers.preconditioner import Preconditioner
from rewrite.solvers.spectrum import DIRECTIONS, Spectrum

HEAVY = 100.0
# A factor of a shorter metric takes no time worth saving, nor does a system of more keys than this for each entry.
LEAST_WIDTH, MOST_KEYS = 1024, 1.0
# Of the power of the strongest input.
LEAST_POWER = 1e-12
# Of the price of a change in the cheapest direction, the most by which a spectrum may be wrong in any.
TOLERANCE = 0.05
# Sums of outputs, with random signs, that say how much a change costs in all but the largest directions: within some
# percent of what is little beside the rest.
PROBES = 32
# By the sums of a memory: every rule that is solved on it uses the same.
KNOWN = WeakTensorKeyDictionary()


@dataclass
class Known:
    """What is known of a memory from the problems before, of a layer of long keys.

    Attributes:
        spectra: The largest directions of the second moment in each part.
        usual: W C, with all of the second moment.
        single: The second moment of each part in single precision.
        kernels: The last keys of each part, and how far a change for one is felt at the others.
        preconditioner: Of steps of descent.
    """

    spectra: dict[int, Spectrum] = field(default_factory=dict)
    usual: Tensor | None = None
    single: dict[int, Tensor] = field(default_factory=dict)
    kernels: dict[int, Kernel] = field(default_factory=dict)
    preconditioner: Preconditioner | None = None


@dataclass(frozen=True)
class Problem:
    """Everything that the solution of a goal at one layer depends on, in float64.

    Attributes:
        matrix: W.
        moment: C = E[k kᵀ] of patch keys.
        style_power: E[s²] of the modulation, for each input, above 0.
        goal: What is to be achieved.
        settings: How.
        activate: What follows the bias, for losses after the activation.
        known: What is known of the memory from the problems before; more is found when it is asked for.
    """

    layer: Layer
    matrix: Float[Tensor, "outputs group_width"]
    moment: Float[Tensor, "key key"]
    style_power: Float[Tensor, " inputs"]
    goal: Goal
    settings: Settings
    activate: Callable[[Tensor], Tensor]
    known: Known = field(default_factory=Known, repr=False)

    @classmethod
    def of(cls, generator: Network, memory: Memory, goal: Goal, settings: Settings) -> "Problem":
        """Set the problem up from a memory of either key space."""
        layer = generator.layer(memory.layer)
        matrix = layer.matrix(generator.weight(layer.name)).detach().cpu().double()
        moment = memory.patch_moment(layer)
        power = memory.mean_style_power
        if len(power) == 0:
            # A plain layer has no modulation; the energy of each input plays its part as a ridge.
            power = moment.diagonal().reshape(layer.inputs, -1).mean(dim=1)
        # Inputs that are always zero (units behind a ReLU that never fire) have a price too, or it is singular.
        power = power.clamp(min=LEAST_POWER * power.max().clamp(min=LEAST_POWER))
        known: Known = KNOWN.setdefault(memory.total, Known())  # pyright: ignore
        return cls(layer, matrix, moment, power, goal, settings, generator.activation(layer.name), known)

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of the layer's matrix that depend on one another only through the demodulation."""
        return self.layer.parts()

    def moment_of(self, part: Part) -> Float[Tensor, "columns columns"]:
        """C between the entries of one part: a view where they stand together."""
        if isinstance(part.columns, slice):
            return self.moment[part.columns, part.columns]
        return self.moment[part.columns[:, None], part.columns]

    def spectrum(self, number: int) -> Spectrum | None:
        """The largest directions of the second moment in a part, if they are to stand for it; None if not.

        They are where there are fewer keys than entries, nothing but the weights decides what changes, and the price of
        ordinary keys in all other directions is little beside the drift.
        """
        part, settings = self.parts[number], self.settings
        scale = self.style_row[part.columns]
        if len(scale) < LEAST_WIDTH or settings.rank is not None or self.exact or settings.drift == 0:
            return None
        if self._keys_of(part) + DIRECTIONS >= MOST_KEYS * len(scale):
            return None
        spectra = self.known.spectra
        if number not in spectra:
            spectra[number] = Spectrum.of(self._single(number), scale)
        found = spectra[number]
        unseen, ridge = settings.damage * found.least, settings.drift + settings.damage * found.tail
        return found if unseen <= TOLERANCE * ridge else None

    def _keys_of(self, part: Part) -> int:
        """How many keys of the goal have entries in a part."""
        sets = (self.goal.wanted, self.goal.others, self.goal.protected)
        if isinstance(part.own, slice):
            return sum(map(len, sets))
        return sum(int(keys.keys[:, part.columns].any(dim=1).sum()) for keys in sets)

    @property
    def exact(self) -> bool:
        """Whether protected places are kept exactly."""
        return self.settings.protect == math.inf and len(self.goal.protected) > 0

    @property
    def finishes(self) -> bool:
        """Whether the change is adjusted in the image afterwards: only where nothing confines it."""
        return self.settings.finish > 0 and not self._confined

    @property
    def descends(self) -> bool:
        """Whether the change is found in the image, from a faint closed form: only where nothing confines it."""
        return self.settings.descent > 0 and not self._confined

    @property
    def _confined(self) -> bool:
        return self.settings.rank is not None or self.exact

    @property
    def protect(self) -> float:
        """Weight of the protected places; a heavy one on the way to keeping them exactly."""
        return HEAVY if self.settings.protect == math.inf else self.settings.protect

    @property
    def modulated(self) -> bool:
        """Whether the layer's output is demodulated by its own weight."""
        return self.layer.modulated

    def demodulation(self, change: Tensor) -> Float[Tensor, "images outputs"]:
        """d(s, W + Δ) of every image of the goal; ones for a plain layer."""
        if not self.modulated:
            return torch.ones(len(self.goal.styles), len(self.matrix), dtype=torch.float64)
        return demodulation_of(self.goal.styles, (self.matrix + change).unflatten(1, (self.layer.inputs, -1)))

    @cached_property
    def first(self) -> Float[Tensor, "images outputs"]:
        """d(s, W) of every image of the goal, before any change."""
        return self.demodulation(torch.zeros_like(self.matrix))

    @cached_property
    def wanted(self) -> Mapped:
        """The goal's wanted keys."""
        return self._mapped(self.goal.wanted)

    @cached_property
    def others(self) -> Mapped:
        """The goal's hard negatives."""
        return self._mapped(self.goal.others)

    @cached_property
    def protected(self) -> Mapped:
        """The goal's protected keys."""
        return self._mapped(self.goal.protected)

    @cached_property
    def soft(self) -> list[Mapped]:
        """What is to keep its value: the hard negatives and the protected keys, with what they weigh here."""
        protected = replace(self.goal.protected, weights=self.goal.protected.weights * self.protect)
        return [at for at in (self.others, replace(self.protected, keys=protected)) if len(at.keys)]

    def _mapped(self, keys: Keys) -> Mapped:
        if self.over_keys:
            # What was read in single precision says it, without the product of many long keys.
            return Mapped(keys, keys.values / self.first[keys.image])
        return Mapped(keys, self.layer.values(keys.keys, self.matrix))

    def _single(self, number: int) -> Float[Tensor, "columns columns"]:
        if number not in self.known.single:
            self.known.single[number] = self.moment_of(self.parts[number]).float()
        return self.known.single[number]

    @cached_property
    def over_keys(self) -> bool:
        """Whether some part is solved over its keys: they are long then, and products with them in single precision."""
        return any(self.spectrum(number) is not None for number in range(len(self.parts)))

    def added(self, at: Mapped, change: Float[Tensor, "outputs group_width"]) -> Float[Tensor, "n outputs"]:
        """What a change adds at some keys before the demodulation."""
        if self.over_keys:
            return self.layer.values(at.single, change.float()).double()
        return self.layer.values(at.keys.keys, change)

    def through(self, matrix: Float[Tensor, "outputs group_width"]) -> Float[Tensor, "outputs group_width"]:
        """A matrix times C, or what stands for it: what is usual of it at ordinary keys."""
        found = torch.zeros_like(matrix)
        for number, part in enumerate(self.parts):
            own, spectrum = matrix[part.rows, part.own], self.spectrum(number)
            found[part.rows, part.own] = own @ self.moment_of(part) if spectrum is None else spectrum.through(own)
        return found

    def beyond_directions(self, matrix: Float[Tensor, "outputs group_width"]) -> float:
        """What tr(A C Aᵀ) of a matrix A is beyond what the largest directions say; of many outputs, an estimate.

        With random signs z, E[zᵀ A C Aᵀ z] is the trace (Hutchinson 1990).
        """
        total, draws = 0.0, torch.Generator().manual_seed(0)
        for number, part in enumerate(self.parts):
            own, spectrum = matrix[part.rows, part.own], self.spectrum(number)
            if spectrum is None:
                continue
            if len(own) > PROBES:
                signs = torch.randint(0, 2, [PROBES, len(own)], generator=draws).to(own).mul(2).sub(1)
                own = signs @ own / PROBES**0.5
            exact = (own.float() @ self._single(number)).double()
            total += float(torch.einsum("ok,ok->", own, exact - spectrum.through(own)))
        return total

    @cached_property
    def usual(self) -> Float[Tensor, "outputs group_width"]:
        """W C, of the unedited matrix."""
        return self.through(self.matrix)

    @property
    def exactly_usual(self) -> Float[Tensor, "outputs group_width"]:
        """W C, with all of the second moment."""
        if self.known.usual is None:
            self.known.usual = torch.zeros_like(self.matrix)
            for number, part in enumerate(self.parts):
                # For a forecast, single precision says enough, at half the cost.
                own = self.matrix[part.rows, part.own]
                self.known.usual[part.rows, part.own] = (own.float() @ self._single(number)).double()
        return self.known.usual

    @property
    def preconditioner(self) -> Preconditioner:
        """What makes steps of descent cost alike at ordinary keys."""
        if self.known.preconditioner is None:
            self.known.preconditioner = Preconditioner.of(self.parts, self.moment_of)
        return self.known.preconditioner

    @property
    def style_row(self) -> Float[Tensor, " key"]:
        """E[s²] repeated over the taps."""
        return self.style_power.repeat_interleave(self.layer.taps)
