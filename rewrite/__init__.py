"""Change a rule of a trained generator or classifier by editing one weight.

The names listed here and in `rewrite.rules` are promised. All other modules are internal: they may change with any
version.
"""

from rewrite.checkpoints.adapters import from_peft, to_peft
from rewrite.checkpoints.discriminators import load_discriminator
from rewrite.checkpoints.loading import export, load_generator
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.loading import load_classifier
from rewrite.classifiers.measurement import measure_pictures
from rewrite.classifiers.preparation import Preparation
from rewrite.classifiers.report import PictureReport
from rewrite.classifiers.reporting import report_pictures
from rewrite.classifiers.rule import ClassifierRule
from rewrite.classifiers.solving import solve_pictures
from rewrite.generators.contract import Generator
from rewrite.generators.latent_files import read_latents
from rewrite.generators.latents import Latents
from rewrite.generators.wrapped import WrappedGenerator
from rewrite.goals.cache import Goals
from rewrite.memory import Memory, measure
from rewrite.patch import Patch, Stack
from rewrite.reports.aims import Aim, Counts
from rewrite.reports.card import model_card
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.effect import Effect, measure_effect
from rewrite.reports.firing import Search, firing, strongest
from rewrite.reports.interval import Interval
from rewrite.reports.layers import ProposedLayer, propose_layers
from rewrite.reports.perceptual import load_perceptual
from rewrite.reports.pictures import show, to_pil
from rewrite.reports.proposals import Proposal, propose_contexts
from rewrite.reports.report import Report, load_report
from rewrite.reports.reporting import report_on
from rewrite.rules.masks import Mask
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings
from rewrite.shards.processes import Processes
from rewrite.shards.sharing import share_among
from rewrite.solvers.solving import solve
from rewrite.version import __version__
from rewrite.wrapping import wrap

__all__ = [
    "Aim",
    "Classifier",
    "ClassifierRule",
    "ConceptSource",
    "Concepts",
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
    "PictureReport",
    "Preparation",
    "Processes",
    "Proposal",
    "ProposedLayer",
    "Region",
    "Report",
    "Rule",
    "Search",
    "Settings",
    "Stack",
    "WrappedGenerator",
    "__version__",
    "export",
    "firing",
    "from_peft",
    "load_classifier",
    "load_discriminator",
    "load_generator",
    "load_perceptual",
    "load_report",
    "measure",
    "measure_effect",
    "measure_pictures",
    "model_card",
    "propose_contexts",
    "propose_layers",
    "read_latents",
    "report_on",
    "report_pictures",
    "share_among",
    "show",
    "solve",
    "solve_pictures",
    "strongest",
    "to_peft",
    "to_pil",
    "wrap",
]
