"""`rewrite specialise`: what units of a classifier specialise in, and what it loses without them."""

from argparse import Namespace

from apps.pictures import pictures_for
from dissect.specialties.document import document_of
from dissect.specialties.sheets import by_class, sheets_of
from dissect.specialties.specialties import STAGES, find_specialties
from dissect.specialties.specialty_page import specialty_page
from dissect.units.summary import as_json
from rewrite import load_classifier
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.files import write_together

STATE = "specialise.safetensors"


def run(options: Namespace) -> dict:
    """Look for subclasses, and write what was found."""
    classifier = load_classifier(options.classifier, architecture=options.architecture, device=options.device)
    pictures = pictures_for(options.pictures, classifier, options.training + options.test)
    state = options.out / STATE
    with goes_on_from(state), stages(*STAGES):
        found = find_specialties(
            classifier,
            options.part,
            pictures,
            pictures.split(options.training, options.test),
            classes=None if options.classes is None else [classifier.class_number(name) for name in options.classes],
            units=options.units,
            most=options.most,
            state=state,
        )
    document = document_of(found, classifier, pictures.identity)
    sheets = [sheets_of(found, one, pictures) for one in found.found]
    title = f"What units of {options.part} in {options.classifier} specialise in"
    page = specialty_page(document, sheets, by_class(found, classifier.classes), title)
    write_together(options.out, {"specialise.json": as_json(document).encode(), "specialise.html": page.encode()})
    return {"out": str(options.out), **{name: value for name, value in document.items() if name != "mean_activation"}}


def tell(result: dict) -> str:
    """The subclasses, with what is lost of each and beside it."""
    lines = ["named right with all units on, and without some, of how many held-out pictures:"]
    for each in result["subclasses"]:
        row = next(row for row in each["sets"] if row["units"] == each["chosen"])
        parts = (
            f"{name} {row[name]['right_before']} to {row[name]['right_after']} of {row[name]['pictures']}"
            for name in ("subclass", "rest", "elsewhere")
        )
        off = ",".join(map(str, each["chosen"]))
        lines.append(
            f"{each['class']}, unit {each['unit']} ({each['share']:.0%} of the class), {off} off: {'; '.join(parts)}"
        )
    return "\n".join([*lines, f"page: {result['out']}/specialise.html"])
