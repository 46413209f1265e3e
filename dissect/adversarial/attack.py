"""Attacks: the smallest changes of pictures that a classifier takes for another class, inside a ball around each."""

import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.classifiers.classifier import Classifier
from rewrite.storage.quoting import quoted

PGD, FMN = "pgd", "fmn"
ATTACKS = (PGD, FMN)
LINF, L2 = "linf", "l2"
# Of colours from 0 to 1; for L2, of a picture of 32 x 32: it grows with the side.
RADII = {LINF: 8 / 255, L2: 0.5}
L2_SIDE = 32
# The steps together are so many radii (Madry et al., 2018).
REACH = 2.5
# Images run from -1 to 1, radii are of colours from 0 to 1.
RANGE = 2.0

Images = Float[Tensor, "images 3 height width"]


@dataclass(frozen=True)
class Attack:
    """How pictures are attacked.

    Attributes:
        norm: `linf` or `l2`.
        radius: The greatest change, of colours from 0 to 1.
        steps: How many steps are taken.
        method: `pgd` (Madry et al., ICLR 2018), or `fmn` of the package foolbox, which looks for the
            least change (Pintor et al., NeurIPS 2021).

    Raises:
        ValueError: The norm or the method is unknown, the radius is not above zero, or there is no step.
    """

    norm: str = LINF
    radius: float = RADII[LINF]
    steps: int = 40
    method: str = PGD

    def __post_init__(self) -> None:
        if self.norm not in RADII or self.method not in ATTACKS:
            raise ValueError(
                f"an attack is {' or '.join(ATTACKS)} in {' or '.join(RADII)}, got {quoted((self.method, self.norm))}"
            )
        if not (0 < self.radius < float("inf") and self.steps >= 1):
            raise ValueError(f"an attack has a radius above zero and steps, got {self.radius:g} and {self.steps}")

    def on(
        self,
        classifier: Classifier,
        images: Images,
        classes: Int64[Tensor, " images"],
        *,
        targeted: bool,
        numbers: tuple[int, ...],
    ) -> Images:
        """Attacked images.

        Args:
            classifier: What is to name them wrong.
            images: The images, in [-1, 1].
            classes: The class that each is to be named, or with `targeted` false the one that it is not to be named.
            targeted: Which of both.
            numbers: The number of each image, of which its start is drawn.

        Raises:
            FileNotFoundError: The attack is of a package that is not installed.
        """
        images = images.to(classifier.device, classifier.dtype)
        classes = classes.to(classifier.device)
        if self.method == FMN:
            return self._fmn(classifier, images, classes, targeted)
        return self._pgd(classifier, images, classes, -1 if targeted else 1, numbers)

    def _pgd(
        self, classifier: Classifier, images: Images, classes: Tensor, sign: int, numbers: tuple[int, ...]
    ) -> Images:
        radius = RANGE * self.radius
        change = self._within(torch.stack([self._start(images[0], number) for number in numbers]).to(images), radius)
        best, best_loss = images, torch.full((len(images),), -torch.inf, device=images.device)
        for step in range(self.steps + 1):
            given = (images + change).clamp(-1, 1).detach().requires_grad_()
            with torch.enable_grad():
                losses = sign * F.cross_entropy(classifier.logits(given), classes, reduction="none")
            better = losses.detach() > best_loss
            best = torch.where(better[:, None, None, None], given.detach(), best)
            best_loss = torch.where(better, losses.detach(), best_loss)
            if step < self.steps:
                (slope,) = torch.autograd.grad(losses.sum(), given)
                along = slope.sign() if self.norm == LINF else slope / _length(slope).clamp(min=1e-12)
                change = self._within(given.detach() - images + REACH * radius / self.steps * along, radius)
        return best

    def _start(self, image: Tensor, number: int) -> Tensor:
        """A change that is drawn at random, inside the ball or on it."""
        draws = torch.Generator().manual_seed(number)
        if self.norm == LINF:
            return (torch.rand(image.shape, generator=draws) * 2 - 1) * RANGE * self.radius
        return torch.randn(image.shape, generator=draws) * RANGE * self.radius / image.numel() ** 0.5

    def _within(self, change: Tensor, radius: float) -> Tensor:
        if self.norm == LINF:
            return change.clamp(-radius, radius)
        return change * (radius / _length(change).clamp(min=1e-12)).clamp(max=1)

    def _fmn(self, classifier: Classifier, images: Images, classes: Tensor, targeted: bool) -> Images:
        foolbox = _foolbox()
        attack = {LINF: foolbox.attacks.LInfFMNAttack, L2: foolbox.attacks.L2FMNAttack}[self.norm](steps=self.steps)
        kind = foolbox.criteria.TargetedMisclassification if targeted else foolbox.criteria.Misclassification
        model = foolbox.PyTorchModel(_Logits(classifier).eval(), bounds=(0, 1), device=images.device)
        _, found, _ = attack(model, (images + 1) / RANGE, kind(classes), epsilons=self.radius)
        return found.detach() * RANGE - 1


class _Logits(nn.Module):
    """A classifier of colours from 0 to 1."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.of = classifier

    def forward(self, colours: Tensor) -> Tensor:
        return self.of.logits(colours * RANGE - 1)


def default_radius(norm: str, size: tuple[int, int]) -> float:
    """What is usual: for L2 it grows with the side of the pictures."""
    return RADII[norm] * (max(size) / L2_SIDE if norm == L2 else 1)


def _length(change: Tensor) -> Float[Tensor, "images 1 1 1"]:
    return change.flatten(1).norm(dim=1)[:, None, None, None]


def _foolbox() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It imports names of scipy that have moved.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module("foolbox")
    except ImportError:
        raise FileNotFoundError(
            "the attack fmn is of the package foolbox: pip install 'model-rewriting[attacks]'"
        ) from None
