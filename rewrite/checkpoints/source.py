"""A checkpoint as a generator and as the place that each of its weights came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.stylegan2 import Design, StyleGAN2, shapes
from rewrite.generators.stylegan2_layers import StyleGAN2Generator


@dataclass(frozen=True)
class Source:
    """An opened checkpoint of another tool.

    Attributes:
        generator: The network that it holds.
        archive: The file.
        places: Where each tensor of our network lies in it; one without a place is not written back.
        family: What people call files like this.
    """

    generator: StyleGAN2Generator
    archive: Archive
    places: Mapping[str, Placed]
    family: str

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with other values for some tensors of our network.

        What the edits were is not written: every byte that is no edited number stays what it was.

        Raises:
            ValueError: The file holds no such tensor, or cannot be written.
        """
        missing = sorted(set(tensors) - set(self.places))
        if missing:
            raise ValueError(f"{self.archive.path} holds no tensor {missing[0]}")
        changes = {}
        for number, (name, values) in enumerate(tensors.items()):
            place = self.places[name]
            changes[number] = (place, values.detach().cpu().reshape(place.shape).to(place.dtype))
        self.archive.write(path, changes)


def stylegan2_source(archive: Archive, design: Design, places: Mapping[str, Placed], family: str, **how: Any) -> Source:
    """Build a StyleGAN2 from tensors that lie in an archive.

    Args:
        archive: The file.
        design: What the network is built like.
        places: Where each of its tensors lies. Noise and the mean latent may be missing; they are zero then.
        family: What people call files like this.
        how: Further arguments of the generator.

    Raises:
        ValueError: Another tensor is missing, has another size, or is not finite.
    """
    state = {}
    for name, shape in shapes(design).items():
        if name not in places:
            if not name.endswith(OPTIONAL):
                raise ValueError(f"{archive.path} is no complete {family}: {name} is missing")
            continue
        tensor = archive.read(places[name]).float()
        if tensor.numel() != _count(shape) or tuple(filter(lambda n: n != 1, tensor.shape)) != tuple(
            filter(lambda n: n != 1, shape)
        ):
            raise ValueError(f"{archive.path} is no {family}: {name} has the shape {tuple(tensor.shape)}, not {shape}")
        if not tensor.isfinite().all():
            raise ValueError(f"{archive.path} holds values that are not finite, first in {name}")
        state[name] = tensor.reshape(shape)
    network = StyleGAN2(design)
    unset = {name: tensor.zero_() for name, tensor in network.state_dict().items() if name not in state}
    network.load_state_dict({**unset, **state})
    return Source(StyleGAN2Generator(network, **how), archive, dict(places), family)


OPTIONAL = ("noise_const", "noise_strength", "w_avg")


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
