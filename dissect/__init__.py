"""Measure: what an image shows, and what units and keys mean.

The names listed here are promised. All other modules are internal: they may change with any version.
"""

from dissect.causes.ablation import ablation_patch
from dissect.causes.brush import Brush
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.painting import Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.photographs.photograph import Photograph
from dissect.photographs.reading import read_picture
from dissect.photographs.search import Effort, find_photograph
from dissect.quality.features import CallableFeatures, FeatureSpace, SegmenterFeatures
from dissect.questions.answer import Answer
from dissect.questions.examination import Examination, examine
from dissect.questions.question import Question
from dissect.questions.subset import Lit, Subset
from dissect.sources.classes import ClassFolder, SceneClasses
from dissect.sources.contract import CallableSource
from dissect.sources.folders import Annotations, Broden
from dissect.sources.huggingface import HuggingFaceSource
from dissect.sources.network import NetworkSource
from dissect.sources.pictures import LabelledPictures
from dissect.sources.towers import SegmenterSource
from dissect.units.counting import dissect
from dissect.units.dissection import Dissection, load_dissections, save_dissections
from dissect.units.probe import GeneratorProbe, PictureProbe, Probe
from dissect.units.scores import Scores
from dissect.units.unit_report import write_units
from rewrite.reports.concepts import Concepts, ConceptSource

__all__ = [
    "Annotations",
    "Answer",
    "Broden",
    "Brush",
    "CallableFeatures",
    "CallableSource",
    "ClassFolder",
    "ConceptSource",
    "Concepts",
    "Dissection",
    "Effort",
    "Examination",
    "FeatureSpace",
    "GeneratorProbe",
    "HuggingFaceSource",
    "Intervention",
    "LabelledPictures",
    "Lit",
    "NetworkSource",
    "Painting",
    "Photograph",
    "PictureProbe",
    "Prefix",
    "Probe",
    "Question",
    "SceneClasses",
    "Scores",
    "SegmenterFeatures",
    "SegmenterSource",
    "Stroke",
    "Subset",
    "ablation_patch",
    "dissect",
    "examine",
    "find_photograph",
    "load_dissections",
    "painted",
    "prefix_of",
    "read_picture",
    "save_dissections",
    "write_units",
]
