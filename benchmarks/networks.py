"""The networks of benchmarks by name: those of full size have random weights, which cost what trained ones cost."""

from pathlib import Path

import torch

from benchmarks.real_size import dcgan, stylegan2
from benchmarks.trained_networks import load_network
from rewrite import Generator, load_generator

OF_STYLEGAN2 = "stylegan2-"
TRAINED = ("anime_faces128", "house_numbers32", "faces32", "colosseum", "tree", "santa_cruz")


def network(name: str, weights: Path | None = None) -> Generator:
    """A generator.

    Args:
        name: `stylegan2-256` and so on for one of full width and that many pixels, `dcgan`, or a file's name.
        weights: The folder of the trained networks of other people, for those.
    """
    torch.manual_seed(0)
    if name in TRAINED and weights is not None:
        return load_network(weights, name)
    if name == "dcgan":
        return dcgan()
    if name.startswith(OF_STYLEGAN2):
        return stylegan2(int(name.removeprefix(OF_STYLEGAN2)))
    return load_generator(name)
