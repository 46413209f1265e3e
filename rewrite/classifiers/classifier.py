"""A network that reads images, seen as named layers that can be edited: cut before a layer, and resumed after it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rewrite.classifiers.runs import PartRun, Stopped, part_run
from rewrite.generators.biases import with_bias
from rewrite.generators.cut import Cut
from rewrite.generators.layers import Layer
from rewrite.generators.left_out import check_module, reasons
from rewrite.generators.modules import Kind, kind_of
from rewrite.generators.network import Network
from rewrite.generators.outputs import noting_inputs
from rewrite.storage.quoting import LONGEST, quoted

BATCH = 64

Prepare = Callable[[Tensor], Tensor]
Images = Float[Tensor, "images 3 height width"]
Scores = Float[Tensor, "images classes"]


class _Rest(NamedTuple):
    """What a run that was cut before a layer needs to go on.

    Attributes:
        state: What the run of the part needs.
        shape: Of what the layer gives, in the module's own order of axes.
    """

    state: Any
    shape: tuple[int, ...]


class Classifier(Network):
    """A network from images to the scores of classes, in evaluation mode. See `wrap` and `load_classifier`.

    Attributes:
        size: Height and width of the images that it is given.
        classes: The name of each class.
        prepare: From images in [-1, 1] to what the module reads.
        left_out: Why each layer that cannot be edited cannot be.
        architecture: `torchvision:NAME` or `timm:NAME`, where its file does not say what network it is of.

    Args:
        module: The network.
        size: Height and width of an image.
        prepare: From images in [-1, 1] to what the module reads; the images themselves if left out.
        classes: The name of each class; their numbers if left out.
        scores: From what the module gives to scores (images, classes), where it is neither them nor an object with
            `logits`.
        layers: Paths of the layers to offer; all that can be edited if left out.

    Raises:
        LookupError: The module has no layer of that name.
        ValueError: A named layer cannot be edited, or the module gives no scores of such classes.
    """

    called = "classifier"
    architecture: str | None = None

    def __init__(
        self,
        module: nn.Module,
        size: tuple[int, int],
        *,
        prepare: Prepare | None = None,
        classes: Sequence[str] | None = None,
        scores: Callable[[Any], Tensor] | None = None,
        layers: Iterable[str] | None = None,
    ):
        check_module(module)
        self.module, self.size = module.eval(), size
        self.prepare, self._scores = prepare or _as_they_are, scores or _scores_of
        self.left_out: Mapping[str, str] = {}
        self.layers: Mapping[str, Layer] = {}
        self._runs: dict[str, PartRun] = {}
        self.classes: tuple[str, ...] = ()
        self._try(classes)
        self._offer(layers)

    def __repr__(self) -> str:
        height, width = self.size
        shown = f"classes={len(self.classes)}, layers={len(self.layers)}, device={self.device}"
        return f"<{type(self).__name__} of {height} x {width}: {shown}>"

    def logits(self, images: Images) -> Scores:
        """The scores of the classes, as the module gives them, of images in [-1, 1]."""
        return self._scores(self.module(self._prepared(images)))

    @torch.no_grad()
    def predict(self, images: Images, batch: int = BATCH) -> Int[Tensor, " images"]:
        """The number of the class of each image, on the CPU."""
        return torch.cat([self.logits(part).argmax(dim=1).cpu() for part in images.split(batch)])

    def class_number(self, named: str | int) -> int:
        """The number of a class that is given by name or by number.

        Raises:
            LookupError: There is no such class.
        """
        text = str(named)
        if text in self.classes:
            return self.classes.index(text)
        if text.isdecimal() and int(text) < len(self.classes):
            return int(text)
        near = get_close_matches(text[:LONGEST], self.classes, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {len(self.classes)}, first {self.classes[0]}"
        raise LookupError(f"this classifier has no class {quoted(text)}: {hint}")

    # Layers, as of a generator

    def cut(self, layer: str, images: Images) -> Cut:
        """Run up to the point where the weight of `layer` is used.

        Raises:
            LookupError: There is no such layer.
        """
        self.layer(layer)
        stopped = self.stop(layer, images)
        return Cut(_Rest(stopped.state, tuple(stopped.output.shape)), self.features_of(layer, stopped.read))

    def features_of(self, layer: str, read: Tensor) -> Float[Tensor, "images inputs height width"]:
        """The map that the weight of `layer` is applied to, from what enters its module."""
        return self._kind(layer).read(self.module.get_submodule(layer), (read,))[0]

    def output(self, layer: str, cut: Cut) -> Float[Tensor, "images units height width"]:
        """What `layer` gives with its present weight."""
        return self.finish(layer, self.layer(layer).apply(cut.features, self.weight(layer)))

    def finish(self, layer: str, written: Tensor) -> Tensor:
        """What `layer` gives for what its weight wrote: its bias is added."""
        return self._kind(layer).finish(self.module.get_submodule(layer), written, None)

    def onward(self, layer: str, cut: Cut, output: Tensor) -> Scores:
        """Go on from what `layer` gives to the scores."""
        rest: _Rest = cut.state
        return self.go_on(layer, rest.state, self._kind(layer).laid_out(output).reshape(rest.shape))

    def resume(self, layer: str, cut: Cut, written: Tensor) -> Scores:
        """Go on from what the weight of `layer` wrote to the scores."""
        return self.onward(layer, cut, self.finish(layer, written))

    def rerun(self, layer: str, cut: Cut) -> Scores:
        """Run `layer` with its present weight and everything after it: what an edit makes of a cut."""
        return self.onward(layer, cut, self.output(layer, cut))

    # Any part of the module, editable or not

    def stop(self, part: str, images: Images) -> Stopped:
        """Run up to a part of the module, and the part itself.

        Raises:
            LookupError: The module has no such part.
        """
        return self.run_of(part).upto(self._prepared(images))

    def go_on(self, part: str, state: Any, output: Tensor) -> Scores:
        """Go on from what a part gives, in its own order of axes, to the scores.

        Args:
            part: Its path.
            state: That of the run that stopped there.
            output: What it gives; it may be written into.
        """
        return self._scores(self.run_of(part).onward(state, output))

    def __getstate__(self) -> dict[str, Any]:
        """What of it is copied, or sent to another process: the graphs of runs are traced anew there."""
        return {**self.__dict__, "_runs": {}}

    def run_of(self, part: str) -> PartRun:
        """Runs that stop at a part.

        Raises:
            LookupError: The module has no such part.
        """
        if part not in self._runs:
            known = [name for name, _ in self.module.named_modules() if name]
            if part not in known:
                near = get_close_matches(part[:LONGEST], known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:20])}"
                raise LookupError(f"this classifier has no part {quoted(part)}: {hint}")
            self._runs[part] = part_run(self.module, part, self._prepared(self._trial()), self._scores)
        return self._runs[part]

    def _prepared(self, images: Tensor) -> Tensor:
        return self.prepare(images.to(self.device, self.dtype))

    def _kind(self, layer: str) -> type[Kind]:
        kind = kind_of(self.module.get_submodule(layer))
        assert kind is not None
        return kind

    # Examining the module

    def _trial(self) -> Tensor:
        draws = torch.Generator().manual_seed(0)
        return torch.rand(2, 3, *self.size, generator=draws) * 2 - 1

    @torch.no_grad()
    def _try(self, classes: Sequence[str] | None) -> None:
        """Run two images, describe every layer that ran once, and hold the scores against the classes."""
        stages = {name: stage for name, stage in self.module.named_modules() if kind_of(stage) is not None}
        with noting_inputs(stages) as seen:
            scores = self._first_scores()
        self.left_out = reasons(self.module, {name: len(calls) for name, calls in seen.items()})
        self.layers = {
            name: with_bias(self._kind(name).describe(name, stage, seen[name][0]), self.module)
            for name, stage in stages.items()
            if name not in self.left_out
        }
        self.classes = tuple(map(str, range(scores.shape[1]))) if classes is None else tuple(classes)
        if len(self.classes) != scores.shape[1]:
            raise ValueError(f"the network scores {scores.shape[1]} classes, {len(self.classes)} are named")

    def _first_scores(self) -> Tensor:
        """The first run, whose errors say what is wrong with the arguments of `wrap`."""
        try:
            scores: Any = self._scores(self.module(self._prepared(self._trial())))
        except (TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            height, width = self.size
            raise ValueError(
                f"the module does not run on images of 3 x {height} x {width} ({reason}): say what it reads with "
                "images=SIZE and prepare=…"
            ) from None
        if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != 2:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"the module gives {shape} where scores (images, classes) are expected: name a conversion with scores=…"
            )
        return scores


def _as_they_are(images: Tensor) -> Tensor:
    """What no preparation makes of images; a function with a name, so that the classifier pickles."""
    return images


def _scores_of(output: Any) -> Tensor:
    """Scores as the networks of transformers and others give them."""
    return output.logits if hasattr(output, "logits") else output
