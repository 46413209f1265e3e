"""Change a rule of a trained generator by editing one weight."""

from rewrite.card import model_card
from rewrite.checkpoints.adapters import from_peft, to_peft
from rewrite.checkpoints.discriminators import load_discriminator
from rewrite.checkpoints.loading import export, load_generator
from rewrite.concepts import Aim, Counts, Interval
from rewrite.effect import Effect, measure_effect
from rewrite.generators.contract import Generator, Latents
from rewrite.generators.wrapped import WrappedGenerator, wrap
from rewrite.goal import Goals
from rewrite.masks import Mask
from rewrite.memory import Memory, measure
from rewrite.patch import Patch, Stack
from rewrite.report import Report, report_on
from rewrite.rule import Latent, Region, Rule, Settings
from rewrite.search import Search, firing, strongest
from rewrite.solvers import solve

__all__ = [
    "Aim",
    "Counts",
    "Effect",
    "Generator",
    "Goals",
    "Interval",
    "Latent",
    "Latents",
    "Mask",
    "Memory",
    "Patch",
    "Region",
    "Report",
    "Rule",
    "Search",
    "Settings",
    "Stack",
    "WrappedGenerator",
    "export",
    "firing",
    "from_peft",
    "load_discriminator",
    "load_generator",
    "measure",
    "measure_effect",
    "model_card",
    "report_on",
    "solve",
    "strongest",
    "to_peft",
    "wrap",
]
