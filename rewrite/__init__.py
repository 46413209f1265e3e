"""Change a rule of a trained generator by editing one weight."""

from rewrite.checkpoints.loading import export, load_generator
from rewrite.generators.contract import Generator, Latents
from rewrite.masks import Mask
from rewrite.memory import Memory, measure
from rewrite.patch import Patch, Stack
from rewrite.rule import Latent, Region, Rule, Settings
from rewrite.solvers import solve

__all__ = [
    "Generator",
    "Latent",
    "Latents",
    "Mask",
    "Memory",
    "Patch",
    "Region",
    "Rule",
    "Settings",
    "Stack",
    "export",
    "load_generator",
    "measure",
    "solve",
]
