"""`rewrite roles`: what a classifier loses of each class without units."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from apps.pictures import pictures_for
from dissect.roles.document import document_of, roles_csv, units_csv
from dissect.roles.interpretability import Interpretability
from dissect.roles.roles import STAGES, Roles, find_roles, identity_of
from dissect.roles.roles_page import kinds_of, roles_page
from dissect.sources.pictures import LabelledPictures, Pictures
from dissect.units.counting import dissect
from dissect.units.probe import PictureProbe
from dissect.units.summary import as_json
from rewrite import Classifier, __version__, load_classifier
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.files import write_together
from rewrite.storage.ledger import Ledger

# One picture in so many is kept apart for the levels of units.
LEVEL_SHARE = 5
# What was counted in a run that its user ended: what classes lose, and what units agree with.
STATES, KIND = ("unfinished.safetensors", "agreement.safetensors"), "roles"


def run(options: Namespace) -> dict:
    """Measure, and write what was found."""
    classifier = load_classifier(options.classifier, architecture=options.architecture, device=options.device)
    return measured(classifier, options)


def measured(classifier: Classifier, options: Namespace) -> dict:
    """The same for a classifier that is loaded already."""
    pictures = pictures_for(options.pictures, classifier, options.training + options.test)
    split, sizes = pictures.split(options.training, options.test), (options.few, options.more)
    how = {
        "classes": None if options.classes is None else [classifier.class_number(name) for name in options.classes],
        "sizes": sizes,
        "promising": options.promising,
    }
    states = [options.out / name for name in STATES]
    identity = {**identity_of(classifier, options.part, pictures, split, **how), "library": __version__}
    with goes_on_from(*states), stages(*STAGES):
        ledger = Ledger(states[0], identity, KIND, progress=True)
        roles = find_roles(classifier, options.part, pictures, split, **how, ledger=ledger)
        found = interpretability_of(classifier, pictures, roles, options.few, states[1])
    document = document_of(roles, classifier, pictures.identity, sizes, found)
    title = f"The role of units of {options.part} in {options.classifier}"
    contents = {
        "roles.json": as_json(document),
        "roles.csv": roles_csv(document),
        "units.csv": units_csv(document),
        "roles.html": roles_page(document, title),
    }
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    for state in states:
        state.unlink(missing_ok=True)
    return {"out": str(options.out), **{name: value for name, value in document.items() if name != "unit"}}


def tell(result: dict) -> str:
    """The table."""
    kinds = kinds_of(result)
    lines = [f"{'class':24} {'unchanged':>12} " + " ".join(f"{text:>20}" for text in kinds.values())]
    for row in result["classes"]:
        cells = (f"{_cell(row[kind])} / {row[f'{kind}_all']['value']:5.1%}" for kind in kinds)
        lines.append(
            f"{row['class'][:24]:24} {_cell(row['unchanged']):>12} " + " ".join(f"{cell:>20}" for cell in cells)
        )
    lines.append(f"balanced accuracy of each class / accuracy over all ({result['unchanged']['value']:.1%} unchanged)")
    if result["interpretability"]:
        correlation = result["interpretability"]["correlation"]
        lines.append(f"importance and agreement with concepts: rank correlation {correlation['value'] or 0:.2f}")
    lines += [
        f"{row['class'][:24]}: unit {row['detector']['unit']} alone tells it with {_cell(row['detector'])}"
        for row in result["classes"]
    ]
    return "\n".join([*lines, f"page: {result['out']}/roles.html"])


def _cell(found: dict[str, Any]) -> str:
    return f"{found['value']:5.1%}"


def interpretability_of(
    classifier: Classifier, pictures: Pictures, roles: Roles, few: int, state: Path | None = None
) -> Interpretability | None:
    """How well the units agree with concepts; None where the pictures have no label maps."""
    if not isinstance(pictures, LabelledPictures):
        return None
    probe = PictureProbe(classifier.module, [roles.part], pictures, classifier.prepare)
    apart = len(pictures.numbers) // LEVEL_SHARE
    dissection = dissect(probe, len(pictures.numbers) - apart - 1, level_samples=apart, state=state, progress=True)
    return Interpretability.of(roles, dissection[roles.part], few)
