"""What a user writes after `--segmenter`, as a source of concepts."""

from pathlib import Path

from dissect.segmenter import load_segmenter
from dissect.sources.huggingface import HuggingFaceSource
from dissect.sources.text import PUBLISHED, TextSource
from dissect.sources.towers import SegmenterSource
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.contract import Generator
from rewrite.reports.concepts import ConceptSource

BUILT_IN = "towers"
OF_TRANSFORMERS, BY_TEXT, OF_NETWORK = "hf:", "text:", "@"
KINDS = f"{BUILT_IN}, a segmenter's file, {OF_TRANSFORMERS}ORG/NAME, {OF_TRANSFORMERS}FOLDER or {BY_TEXT}NAMES"


def source_for(named: str, model: Generator | Classifier) -> ConceptSource:
    """The source of concepts that a name stands for, on the model's device.

    Args:
        named: `towers`, the path of a segmenter's file, `hf:ORG/NAME` of the Hugging Face hub, or `hf:` and a folder;
            or `text:tree,dome` for CLIPSeg, with `@` and ORG/NAME or a folder where it is to be another one's.
        model: Whose images will be labelled: what draws them, or is shown them.

    Raises:
        FileNotFoundError: There is no such file or folder, or a package that it needs is not installed.
        ValueError: What is there is no segmenter, or cannot label images of the model's size.
    """
    if named.startswith(OF_TRANSFORMERS):
        return HuggingFaceSource(named.removeprefix(OF_TRANSFORMERS), device=str(model.device))
    if named.startswith(BY_TEXT):
        texts, _, network = named.removeprefix(BY_TEXT).partition(OF_NETWORK)
        return TextSource(texts.split(","), network or PUBLISHED, device=str(model.device))
    path = Path(named)
    if named != BUILT_IN and not path.is_file():
        hint = f": did you mean {OF_TRANSFORMERS}{named}?" if path.is_dir() else ""
        raise FileNotFoundError(f"a segmenter is {KINDS}, and there is no file {named!r}{hint}")
    segmenter = load_segmenter(None if named == BUILT_IN else path)
    divisor, (height, width) = 2 ** (len(segmenter.widths) - 1), model.size
    if height % divisor or width % divisor:
        raise ValueError(f"the segmenter {named} labels images whose sides {divisor} divides, got {height} x {width}")
    return SegmenterSource(segmenter.to(model.device))
