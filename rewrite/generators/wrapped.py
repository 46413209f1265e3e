"""Any user's module as a generator: its layers are found by running it once, and read through hooks.

The module is not changed and need not follow any structure. What can be edited are the convolutions, transposed
convolutions and linear layers of torch, and the modulated convolutions of StyleGAN2 in NVIDIA's and rosinality's
repositories. The one requirement is that the weight is a parameter, or computed by torch's spectral or weight norm, and
that the layer runs once per image.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from rewrite.generators.biases import with_bias
from rewrite.generators.colours import check_colours, coloured
from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.inputs import InputForm
from rewrite.generators.latents import Latents
from rewrite.generators.layers import Layer, Margins, grid_of
from rewrite.generators.left_out import check_module, reasons
from rewrite.generators.margins import FittedLayers, extending, reaches_beyond
from rewrite.generators.modules import PLAIN, Kind, kind_of
from rewrite.generators.outputs import keeping_outputs, noting_inputs
from rewrite.generators.seeds import whole_seed
from rewrite.storage.quoting import quoted

TRIAL_SEEDS = (0, 1)
ALIKE = 1e-3
IN_UNIT_RANGE = "the images of the first run lie in [0, 1]: if that is their range, give images=lambda x: 2 * x - 1"

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
DrawLatents = Callable[[tuple[int, ...]], Inputs]


def wrap(
    module: nn.Module,
    latents: int | tuple[int, ...] | DrawLatents,
    layers: Iterable[str] | None = None,
    *,
    images: Callable[[Any], Tensor] | None = None,
    margins: Mapping[str, Margins] | None = None,
) -> "WrappedGenerator":
    """See a module as a generator.

    Args:
        module: From latents to images. It runs in the mode that it is in: call `eval()` first if that is wanted.
        latents: The length or shape of one latent, drawn as `RandomState(seed).randn`; or a function from seeds to the
            module's input, one row a seed; a tuple of inputs, or a dictionary of them by the names of the module's
            arguments, where it takes several (noise and classes).
        layers: Paths of the layers to offer; all that can be edited if left out.
        images: From what the module returns to images (n, 3, h, w) in [-1, 1]; the identity if left out.
        margins: How many cells of what a layer writes lie outside the image on each side (or above, below, left and
            right), where they are cut off later. Of layers that are not named it is measured where their map does not
            fit the image.

    Returns:
        The generator, whose module is the very module: an edit of the one is an edit of the other.

    Raises:
        LookupError: The module has no layer of that name.
        ValueError: A named layer cannot be edited, a margin leaves nothing of a map, or the module does not return
            images, does not run on these latents, or is a kind of module that cannot be seen into.
    """
    check_module(module)
    generator = WrappedGenerator(module, latents, layers, images)
    given = _with_margins(generator, margins or {})
    misfits = [name for name in _misfits(generator) if name not in given]
    if given or misfits:
        generator.layers = FittedLayers(generator, {**generator.layers, **given}, misfits)
    return generator


class WrappedGenerator(Generator):
    """A user's module, cut and resumed by hooks. See `wrap`."""

    def __init__(
        self,
        module: nn.Module,
        latents: int | tuple[int, ...] | DrawLatents,
        layers: Iterable[str] | None,
        images: Callable[[Any], Tensor] | None,
    ):
        self.module, self.convert = module, images or _as_it_is
        self.draw_latents = latents if callable(latents) else None
        self.inputs = InputForm.of(latents(TRIAL_SEEDS)) if callable(latents) else InputForm.plain(latents)
        self.z_dim = self.inputs.size
        self.alone = False
        self.left_out: Mapping[str, str] = {}
        self.restless: frozenset[str] = frozenset()
        self.layers: Mapping[str, Layer] = {}
        self._try(layers)

    def latents(self, seeds: Iterable[int]) -> Latents:
        """As of any generator, or those of the user's function.

        Raises:
            ValueError: The function gives latents of another number or shape than it is asked for.
        """
        if self.draw_latents is None:
            return super().latents(seeds)
        seeds = tuple(whole_seed(seed) for seed in seeds)
        return Latents(self.inputs.joined(self.draw_latents(seeds), len(seeds)).to(self.device), seeds)

    def images(self, latents: Latents) -> Tensor:
        return torch.cat([self._run(part) for part in self._parts(latents)])

    def cut(self, layer: str, latents: Latents) -> Cut:
        described = self.layer(layer)
        read = [self._read(described, part) for part in self._parts(latents)]
        features = torch.cat([features for features, _ in read])
        styles = [style for _, style in read if style is not None]
        return Cut(latents, features, torch.cat(styles) if styles else None)

    def onward(self, layer: str, cut: Cut, output: Tensor) -> Tensor:
        """Run the module again, with what the layer gives replaced: a module can only be run from its beginning."""
        drawn = []
        for number, part in enumerate(self._parts(cut.state)):
            first = number if self.alone else 0
            with self._replacing(layer, output[first : first + len(part.z)]):
                drawn.append(self._run(part))
        return torch.cat(drawn)

    def output(self, layer: str, cut: Cut) -> Tensor:
        """What the module itself gives: the noise and activation of a foreign layer are its own."""
        if self.resumable(layer):
            return super().output(layer, cut)
        return self.outputs([layer], cut.state)[0][layer]

    def resumable(self, layer: str) -> bool:
        return self._kind(layer).finishes

    def finish(self, layer: str, cut: Cut, written: Tensor, demodulation: Tensor | None) -> Tensor:
        return self._kind(layer).finish(self.module.get_submodule(layer), written, demodulation)

    def outputs(self, layers: Sequence[str], latents: Latents) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """As of any generator; any module that gives maps counts as a layer here, and all are read in one run."""
        found, drawn = [], []
        for part in self._parts(latents):
            with keeping_outputs(self.module, layers) as kept:
                drawn.append(self._run(part))
            found.append(kept)
        return {name: torch.cat([maps[name] for maps in found]) for name in layers}, lambda: torch.cat(drawn)

    def units(self, layer: str) -> int:
        names = [name for name, _ in self.module.named_modules()]
        if layer not in names:
            near = get_close_matches(layer, names, 1)
            raise LookupError(
                f"the module has no part {quoted(layer)}: {f'did you mean {near[0]}?' if near else names[1:]}"
            )
        if layer in self.layers:
            return super().units(layer)
        return self.outputs([layer], self.latents(TRIAL_SEEDS[:1]))[0][layer].shape[1]

    def offset(self, layer: str, cut: Cut) -> Tensor:
        stage = self.module.get_submodule(layer)
        bias = getattr(stage, "bias", None)
        if not isinstance(stage, PLAIN) or bias is None:
            return super().offset(layer, cut)
        return bias[None, :, None, None]

    def weight(self, layer: str) -> Tensor:
        return self._kind(layer).weight(super().weight(layer))

    def rerun(self, layer: str, cut: Cut) -> Tensor:
        return self.images(cut.state)

    def state(self) -> Mapping[str, Tensor]:
        """Its tensors, except those that a run changes: the averages that batch normalisation keeps in training."""
        return {name: tensor for name, tensor in self.module.state_dict().items() if name not in self.restless}

    # Running the module

    def _parts(self, latents: Latents) -> Iterator[Latents]:
        """The latents as they may be run together: one by one where an image depends on its batch."""
        if not self.alone:
            yield latents
            return
        for number in range(len(latents.seeds)):
            yield latents.chosen([number])

    def _run(self, latents: Latents) -> Tensor:
        output = self.convert(self._forward(latents))
        if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != len(latents.z):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            scores = isinstance(output, Tensor) and output.ndim == 2
            hint = "wrap a classifier with wrap(module, images=SIZE)" if scores else "name a conversion with images=…"
            raise ValueError(f"the module gives {shape} where images (n, 3, h, w) are expected: {hint}")
        check_colours(output.shape[1])
        return coloured(output)

    def _forward(self, latents: Latents) -> Any:
        if not self.alone:
            return self._called(latents)
        # The module's own random numbers depend on the image's seed, as everything else does.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(latents.seeds[0])
            return self._called(latents)

    def _called(self, latents: Latents) -> Any:
        """What the module gives for latents."""
        given, named = self.inputs.split(latents.z, next(self.module.parameters()).dtype)
        return self.module(*given, **named)

    def _first(self, latents: Latents) -> Tensor:
        """The first run, whose errors say what is wrong with the arguments of `wrap`."""
        try:
            return self._run(latents)
        except (TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(
                f"the module does not run on latents of {self.inputs} ({reason}): say what it takes with latents=…"
            ) from None

    def _read(self, described: Layer, latents: Latents) -> tuple[Tensor, Tensor | None]:
        """Run up to a layer and take what enters it."""
        stage, found = self.module.get_submodule(described.name), []

        def stop(_: nn.Module, inputs: tuple) -> None:
            found.append(inputs)
            raise _Reached

        handle = stage.register_forward_pre_hook(stop)
        try:
            self._forward(latents)
        except _Reached:
            pass
        finally:
            handle.remove()
        return self._kind(described.name).read(stage, found[0])

    @contextmanager
    def _replacing(self, layer: str, output: Tensor) -> Iterator[None]:
        stage = self.module.get_submodule(layer)
        laid_out = self._kind(layer).laid_out(output)
        handle = stage.register_forward_hook(lambda module, inputs, old: laid_out.reshape(old.shape).to(old.dtype))
        try:
            yield
        finally:
            handle.remove()

    def _kind(self, layer: str) -> type[Kind]:
        """How a layer is read."""
        kind = kind_of(self.module.get_submodule(layer))
        assert kind is not None
        return kind

    # Examining the module

    @torch.no_grad()
    def _try(self, wanted: Iterable[str] | None) -> None:
        """Run two images, together and alone, and describe every layer that ran once."""
        names = {name: stage for name, stage in self.module.named_modules() if kind_of(stage) is not None}
        latents, before = self.latents(TRIAL_SEEDS), _copied(self.module)
        with noting_inputs(names) as seen:
            state = torch.get_rng_state()
            together = self._first(latents)
            by_chance = not torch.equal(state, torch.get_rng_state())
            torch.set_rng_state(state)
        after = dict(self.module.named_buffers())
        self.restless = frozenset(name for name, old in before.items() if not torch.equal(old, after[name]))
        self.size = grid_of(together)
        self.assumed = (IN_UNIT_RANGE,) if together.min() >= 0 and together.max() <= 1 else ()
        self.alone = True
        apart = self.images(latents)
        self.alone = by_chance or bool((apart - together).abs().max() > ALIKE * together.abs().max())
        for name in self.restless:
            after[name].copy_(before[name])
        self.left_out = reasons(self.module, {name: len(calls) for name, calls in seen.items()})
        self.layers = {
            name: with_bias(self._kind(name).describe(name, stage, seen[name][0]), self.module)
            for name, stage in names.items()
            if name not in self.left_out
        }
        self._offer(wanted)


def _misfits(generator: Generator) -> list[str]:
    """The layers whose maps do not fit the image, and that can be gone on from."""
    fitting = ((name, layer) for name, layer in generator.layers.items() if generator.resumable(name))
    return [name for name, layer in fitting if reaches_beyond(layer, generator.size)]


def _with_margins(generator: Generator, margins: Mapping[str, Margins]) -> dict[str, Layer]:
    """The layers that extend beyond the image, with their margins."""
    return {name: extending(generator.layer(name), margin) for name, margin in margins.items()}


def _as_it_is(output: Any) -> Any:
    """What no conversion makes of an output; a function with a name, so that the generator pickles."""
    return output


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.named_buffers()}


class _Reached(Exception):  # noqa: N818 (not an error: it ends a run early)
    pass
