"""What `rewrite report` does with patches of a classifier."""

from argparse import Namespace
from pathlib import Path

from apps.commands.patches import load_patches
from apps.parsers.parser import OF_FILE
from apps.pictures import pictures_for
from apps.sources import BUILT_IN
from rewrite import Classifier
from rewrite.classifiers.reporting import STAGE, PictureReporting
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.ledger import Ledger

# What the pictures were named of a report that its user ended.
STATE, KIND = "unfinished.safetensors", "classifier report"
# Scenes that are drawn of each class.
TEST = 100
# Options that are of generators, with what they are where they are left out.
OF_GENERATORS = {
    "seeds": None, "latents": None, "lpips": None, "download_lpips": None, "segmenter": BUILT_IN, "label": OF_FILE,
}  # fmt: skip


def run(classifier: Classifier, options: Namespace) -> dict:
    """Measure, or go on measuring, and write the report."""
    for option, default in OF_GENERATORS.items():
        if getattr(options, option) != default:
            named = "class" if option == "label" else option.replace("_", "-")
            raise ValueError(f"--{named} is for patches of a generator, and {options.model} is a classifier")
    held = load_patches(classifier, options.patches, options.strengths)
    pictures = pictures_for(options.pictures, classifier, TEST if options.test is None else options.test)
    reporting = PictureReporting(
        classifier,
        [patch for patch, _ in held],
        pictures,
        pictures.some(options.test),
        strengths=[strength for _, strength in held],
    )
    state = options.out / STATE
    with goes_on_from(state), stages(STAGE):
        found = reporting.report(Ledger(state, reporting.identity, KIND, progress=True))
        found.save(options.out)
    state.unlink(missing_ok=True)
    return {"out": str(options.out), **{name: value for name, value in found.document().items() if name != "renamed"}}


def tell(result: dict) -> str:
    """Errors before and after, over all and by class."""
    lines = [f"{'pictures':24} {'number':>7} {'wrong before':>13} {'wrong after':>12} {'mended':>7} {'broken':>7}"]
    for row in ({"class": "all", **result}, {"class": "other classes", **(result["other_classes"] or {})}):
        if "pictures" in row:
            lines.append(_line(row))
    lines += [_line(row) for row in result["classes"]]
    lines += [
        f"{each['rule']}: {each['before']} of {each['pictures']} pictures of the rule named as wanted before, "
        f"{each['after']} after"
        for each in result["pairs"]
    ]
    return "\n".join([*lines, f"report: {Path(result['out']) / 'report.html'}"])


def _line(row: dict) -> str:
    shares = f"{row['error_before']:>13.1%} {row['error_after']:>12.1%}"
    return f"{row['class'][:24]:24} {row['pictures']:>7} {shares} {row['mended']:>7} {row['broken']:>7}"
