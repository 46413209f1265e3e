"""`rewrite export`: fold patches into a checkpoint, or write them as an adapter."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps.commands.patches import load_patches
from apps.models import load_model
from rewrite import Classifier, Generator, Patch, export, model_card, to_peft
from rewrite.reports.report import load_report
from rewrite.storage.files import together, write_text


def run(options: Namespace) -> dict:
    """Write the edited checkpoint or the adapter, and the card if one is asked for."""
    if options.report is not None and options.card is None:
        raise ValueError("--report is for a model card: name the card with --card")
    generator = load_model(options.model, options.architecture)
    held = load_patches(generator, options.patches, options.strengths)
    patches, strengths = [patch for patch, _ in held], [strength for _, strength in held]
    container = "same" if options.container == "container" else options.container
    card = _card(options, generator, patches, strengths, container)
    # The file of a classifier is known by what it was loaded from.
    model = None if isinstance(generator, Classifier) else options.model
    with together():
        if container == "peft":
            to_peft(generator, patches, _folder(options), strengths=strengths)
        else:
            export(generator, patches, options.out, model=model, container=container, strengths=strengths)
        if card is not None:
            write_text(options.card, card)
    layers = sorted({patch.layer for patch in patches})
    result = {"out": str(options.out), "model": options.model, "layers": layers, "as": options.container}
    return result if card is None else {**result, "card": str(options.card)}


def tell(result: dict) -> str:
    """The files."""
    layers = " and ".join(result["layers"])
    if result["as"] == "peft":
        text = f"an adapter for {result['model']} at {layers}, in {result['out']}"
    else:
        text = f"{result['model']} with an edited weight at {layers}, in {result['out']}"
    return f"{text}\nmodel card: {result['card']}" if "card" in result else text


def _card(
    options: Namespace,
    generator: Generator | Classifier,
    patches: Sequence[Patch],
    strengths: Sequence[float],
    container: str,
) -> str | None:
    """The text of the card, made before anything is written: an error leaves no files."""
    if options.card is None:
        return None
    return model_card(
        generator,
        patches,
        model=None if isinstance(generator, Classifier) else options.model,
        strengths=strengths,
        report=None if options.report is None else load_report(options.report),
        out=options.out,
        container=container,
    )


def _folder(options: Namespace) -> Path:
    """The folder for an adapter.

    Raises:
        ValueError: The path has the suffix of a file.
    """
    if options.out.suffix in (".safetensors", ".pt", ".pth", ".pkl", ".bin"):
        raise ValueError(
            f"an adapter of PEFT is a folder, and {options.out} is named like a file: change --out or --as"
        )
    return options.out
