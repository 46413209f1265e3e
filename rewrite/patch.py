"""The answer to a rule: a low-rank change of one weight, that applies, scales, stacks and comes off exactly.

A patch that switches units off changes the layer's bias too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.fingerprint import hash_of
from rewrite.generators.layers import Layer
from rewrite.generators.network import Network
from rewrite.generators.parametrised import store_in, stored_in
from rewrite.reports.forecast import summary_of
from rewrite.reports.rendering import render
from rewrite.rules.documents import name_in
from rewrite.storage import files
from rewrite.storage.quoting import lacking, named

NEGLIGIBLE = 1e-7
Edited = TypeVar("Edited", bound=Network)
TEMPLATE = Path(__file__).parent / "templates" / "patch.html"


@dataclass(frozen=True)
class Patch:
    """A change of the matrix of one layer, as a product of two thin matrices.

    Attributes:
        layer: Name of the layer.
        left, right: Δ = left @ right, float32.
        base: Hash of the weight that the patch was made for, and of the bias if it changes that too.
        model: Fingerprint of the generator that it was made for.
        rules: The rules that it answers, as JSON.
        forecast: What the solver expects of it.
        bias: Change of the layer's bias, float32; None for none.
    """

    layer: str
    left: Float[Tensor, "outputs rank"]
    right: Float[Tensor, "rank key"]
    base: str
    model: str
    rules: tuple[str, ...] = ()
    forecast: Mapping[str, Any] = field(default_factory=dict)
    bias: Float[Tensor, " outputs"] | None = None

    def __repr__(self) -> str:
        bias = "" if self.bias is None else ", with a change of the bias"
        return f"<Patch of {self.layer}: rank={self.rank}, rules={len(self.rules)}, model={self.model}{bias}>"

    def _repr_html_(self) -> str:
        names = [name_in(rule) for rule in self.rules]
        return render(TEMPLATE, patch=self, rules=names, forecast=summary_of(self.forecast))

    @classmethod
    def from_change(cls, layer: Layer, change: Float[Tensor, "outputs key"], **about: Any) -> "Patch":
        """Split a change into its factors; directions below 1e-7 of the largest are rounding and are left out."""
        moved = change.any(dim=1) if change.any() else slice(None)
        rows = change[moved].double()
        # A change is much wider than high: its left vectors are those of a small matrix. They are orthonormal whatever
        # the squares lose, so that the product is exact, and sizes are those of the rows that it is turned to.
        written = torch.linalg.eigh(rows @ rows.T).eigenvectors.flip(1)
        turned = written.T @ rows
        sizes = turned.norm(dim=1)
        kept = max(1, int((sizes > NEGLIGIBLE * sizes.max()).sum()))
        root = sizes[:kept].clamp(min=1e-300).sqrt()
        left = change.new_zeros(len(change), kept, dtype=torch.float64)
        left[moved] = written[:, :kept] * root
        return cls(layer.name, left.float(), (turned[:kept] / root[:, None]).float(), **about)

    @property
    def rank(self) -> int:
        """Number of directions."""
        return self.left.shape[1]

    def tensors(self, generator: Network) -> dict[str, Tensor]:
        """The tensors of the network that it changes, by name."""
        layer = generator.layer(self.layer)
        bias = None if self.bias is None else generator.bias(self.layer)
        return stored_in(generator.module, layer.weight) | ({} if bias is None else {str(layer.bias): bias})

    def change(self, layer: Layer) -> Tensor:
        """The change of the stored weight at strength 1, float64."""
        return layer.weight_from(self.left.double() @ self.right.double())

    def check(self, generator: Network, base: Tensor | None = None, bias: Tensor | None = None) -> None:
        """Refuse a weight, or a bias, that the patch was not made for.

        Args:
            generator: The generator.
            base: The weight without any patches, if the generator's own is edited now.
            bias: The bias without any patches, likewise.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: The weight is another one.
        """
        layer = generator.layer(self.layer)
        expected = (layer.outputs, layer.width // layer.groups)
        if (len(self.left), self.right.shape[1]) != expected:
            raise ValueError(
                f"this patch changes a matrix of {len(self.left)} x {self.right.shape[1]}, "
                f"but layer {self.layer} has one of {expected[0]} x {expected[1]}"
            )
        weight = generator.weight(self.layer) if base is None else base
        if self.bias is None:
            found = base_of(weight)
        else:
            bias = generator.bias(self.layer) if bias is None else bias
            if bias is None or bias.numel() != len(self.bias):
                raise ValueError(f"this patch changes {len(self.bias)} biases, which layer {self.layer} does not have")
            found = base_of(weight, bias)
        if found != self.base:
            raise ValueError(
                f"this patch was made for weight {named(self.base)} of {self.layer}, not for weight {found}"
            )

    @contextmanager
    def applied(self, generator: Edited, strength: float = 1.0) -> Iterator[Edited]:
        """Edit the generator inside a `with` block; the weight is restored bit for bit on the way out.

        Args:
            generator: The generator that the patch was made for.
            strength: Factor on the change.

        Yields:
            The generator, edited.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: The patch was made for another weight, or the strength is not finite.
        """
        with Stack(generator).holding([(self, strength)]):
            yield generator

    def save(self, path: str | Path) -> None:
        """Write the patch as safetensors; rules and forecast are in the header.

        Raises:
            ValueError: The file cannot be written.
        """
        about = {
            "layer": self.layer,
            "base": self.base,
            "model": self.model,
            "rules": self.rules,
            "forecast": dict(self.forecast),
        }
        bias = {} if self.bias is None else {"bias": self.bias}
        files.save_tensors(path, {"left": self.left, "right": self.right, **bias}, "patch", about)

    @classmethod
    def load(cls, path: str | Path) -> "Patch":
        """Read a patch that `save` wrote.

        Returns:
            The patch.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a patch, or is damaged.
        """
        tensors, about = files.load_tensors(path, "patch")
        try:
            patch = cls(
                layer=str(about["layer"]),
                left=tensors["left"],
                right=tensors["right"],
                base=str(about["base"]),
                model=str(about["model"]),
                rules=tuple(str(rule) for rule in about["rules"]),
                forecast=dict(about["forecast"]),
                bias=tensors.get("bias"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is a damaged patch: {lacking(error)}") from None
        if patch.left.ndim != 2 or patch.right.ndim != 2 or patch.left.shape[1] != patch.right.shape[0]:
            raise ValueError(f"{path} is a damaged patch: its factors do not fit together")
        if patch.bias is not None and patch.bias.shape != patch.left.shape[:1]:
            raise ValueError(f"{path} is a damaged patch: its bias does not fit its factors")
        if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
            raise ValueError(f"{path} is a damaged patch: its numbers are not float32")
        files.finite(tensors, path)
        return patch


class Stack:
    """Patches on a generator, with their strengths, over saved base weights.

    The edited weight is always computed from the base weight, in float64 and in a fixed order: it does not depend on
    the order in which patches were added, and taking them all off leaves every weight as it was.
    """

    def __init__(self, generator: Network):
        self.generator = generator
        self.base: dict[str, Tensor] = {}
        self._stored: dict[str, dict[str, Tensor]] = {}
        self.biases: dict[str, Tensor] = {}
        self.held: list[tuple[Patch, float]] = []

    def __repr__(self) -> str:
        held = ", ".join(f"{patch.layer} at {strength:g}" for patch, strength in self.held)
        return f"<Stack of {len(self.held)} patches{held and f': {held}'}>"

    def hold(self, patches: Sequence[tuple[Patch, float]]) -> None:
        """Make the generator's weights those of exactly these patches at these strengths.

        Raises:
            ValueError: A patch was made for another weight, or a strength is not finite; nothing is changed.
        """
        for patch, strength in patches:
            if not abs(strength) < float("inf"):
                raise ValueError(f"strength must be a finite number, got {strength}")
            patch.check(self.generator, self.base.get(patch.layer), self.biases.get(patch.layer))
        layers = {patch.layer for patch, _ in patches}
        biased = {patch.layer for patch, _ in patches if patch.bias is not None}
        for layer in layers - set(self.base):
            self.base[layer] = self.generator.weight(layer).detach().clone()
            tensors = stored_in(self.generator.module, self.generator.layer(layer).weight)
            self._stored[layer] = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for layer in biased - set(self.biases):
            bias = self.generator.bias(layer)
            assert bias is not None  # which `check` says
            self.biases[layer] = bias.detach().clone()
        try:
            self._write_all(patches)
        except ValueError:
            self._write_all(self.held)
            raise
        for layer in list(self.base):
            if layer not in layers:
                del self.base[layer], self._stored[layer]
            if layer not in biased:
                self.biases.pop(layer, None)
        self.held = list(patches)

    def clear(self) -> None:
        """Take every patch off: the weights are bit for bit what they were."""
        self.hold([])

    @contextmanager
    def holding(self, patches: Sequence[tuple[Patch, float]]) -> Iterator[Network]:
        """Hold patches inside a `with` block.

        Yields:
            The generator, edited.

        Raises:
            ValueError: A patch was made for another weight, or a strength is not finite.
        """
        before = self.held
        try:
            self.hold(patches)
            yield self.generator
        finally:
            self.hold(before)

    def _write_all(self, patches: Sequence[tuple[Patch, float]]) -> None:
        for layer in self.base:
            self._write(layer, _ordered([held for held in patches if held[0].layer == layer]))

    def _write(self, layer: str, patches: Sequence[tuple[Patch, float]]) -> None:
        described, module = self.generator.layer(layer), self.generator.module
        changes = [strength * patch.change(described) for patch, strength in patches if strength]
        for name, tensor in stored_in(module, described.weight).items():
            _fill(tensor, self._stored[layer][name], [])
        if changes:
            store_in(module, described.weight, _changed(self.base[layer], changes))
        bias = self.generator.bias(layer)
        if bias is not None and layer in self.biases:
            moved = [s * patch.bias.double().reshape(bias.shape) for patch, s in patches if patch.bias is not None]
            _fill(bias, self.biases[layer], moved)


def base_of(weight: Tensor, bias: Tensor | None = None) -> str:
    """The hash of what a patch is made for: a weight, and a bias if the patch changes that."""
    return hash_of({"weight": weight} if bias is None else {"weight": weight, "bias": bias})


def _ordered(patches: Sequence[tuple[Patch, float]]) -> list[tuple[Patch, float]]:
    """Patches in an order that does not depend on how they were given."""

    def key(held: tuple[Patch, float]) -> tuple[str, float]:
        patch, strength = held
        bias = {} if patch.bias is None else {"b": patch.bias}
        return hash_of({"l": patch.left, "r": patch.right, **bias}), strength

    return sorted(patches, key=key)


def _fill(parameter: Tensor, base: Tensor, changes: Sequence[Tensor]) -> None:
    """Write base and changes into a parameter; without changes it is the base bit for bit."""
    with torch.no_grad():
        parameter.copy_(_changed(base, changes) if changes else base)


def _changed(base: Tensor, changes: Sequence[Tensor]) -> Tensor:
    return (base.cpu().double() + sum(changes)).to(base)


def held_at(
    patches: Patch | Sequence[Patch], strengths: Sequence[float] | None = None
) -> tuple[tuple[Patch, float], ...]:
    """One patch or several with the strength of each, 1 if none are given.

    Raises:
        ValueError: Patches and strengths differ in number.
    """
    patches = (patches,) if isinstance(patches, Patch) else tuple(patches)
    strengths = [1.0] * len(patches) if strengths is None else [float(strength) for strength in strengths]
    if len(strengths) != len(patches):
        raise ValueError(f"each patch has one strength, got {len(patches)} patches and {len(strengths)} strengths")
    return tuple(zip(patches, strengths, strict=True))


def describe(path: str | Path) -> dict:
    """What `rewrite inspect` says of a patch file."""
    patch = Patch.load(path)
    return {
        "layer": patch.layer,
        "rank": patch.rank,
        "bias": "changed" if patch.bias is not None else "as it was",
        "rules": [name_in(rule) for rule in patch.rules],
        "model": patch.model,
        "base weight": patch.base,
        "forecast": dict(patch.forecast),
    }
