"""Measure: what an image shows, and what units and keys mean."""

from dissect.ablation import ablation_patch
from dissect.brush import Brush
from dissect.concepts import Concepts
from dissect.dissection import Dissection, dissect, load_dissections, save_dissections
from dissect.intervention import Intervention, Prefix
from dissect.painting import Painting, Stroke, painted, prefix_of
from dissect.probe import GeneratorProbe, PictureProbe, Probe
from dissect.scores import Scores
from dissect.sources.contract import CallableSource, ConceptSource
from dissect.sources.network import NetworkSource
from dissect.sources.pictures import LabelledPictures
from dissect.unit_report import write_units

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
