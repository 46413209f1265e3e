"""Measure: what an image shows, and what units and keys mean."""

from dissect.causes.ablation import ablation_patch
from dissect.causes.brush import Brush
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.painting import Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.sources.contract import CallableSource
from dissect.sources.network import NetworkSource
from dissect.sources.pictures import LabelledPictures
from dissect.units.counting import dissect
from dissect.units.dissection import Dissection, load_dissections, save_dissections
from dissect.units.probe import GeneratorProbe, PictureProbe, Probe
from dissect.units.scores import Scores
from dissect.units.unit_report import write_units
from rewrite.reports.concepts import Concepts, ConceptSource

__all__ = [
    "Brush",
    "CallableSource",
    "ConceptSource",
    "Concepts",
    "Dissection",
    "GeneratorProbe",
    "Intervention",
    "LabelledPictures",
    "NetworkSource",
    "Painting",
    "PictureProbe",
    "Prefix",
    "Probe",
    "Scores",
    "Stroke",
    "ablation_patch",
    "dissect",
    "load_dissections",
    "painted",
    "prefix_of",
    "save_dissections",
    "write_units",
]
