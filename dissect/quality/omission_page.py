"""What a generator does not draw, as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from dissect.quality.omissions import ALIKE, LESS, MORE, OMITS
from rewrite.reports.page import image_tag, section, table, whole_page

LOOK = """
th,td{overflow-wrap:normal}
.both{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:.75rem;margin-bottom:1rem}
.both p{margin:0 0 .25rem;font-size:.85rem;color:var(--soft)}.both h3{grid-column:1/-1;margin:.5rem 0 0;font-size:1rem}
.row{display:grid;grid-template-columns:repeat(6,1fr);gap:2px}.row img{width:100%;height:auto;display:block}
.wide img{max-width:100%;height:auto}
"""
SIDES = ("training", "generated")
MARKS = {OMITS: "bad", LESS: "bad", MORE: "bad", ALIKE: "soft"}


def omission_page(
    document: Mapping[str, Any],
    shown: Mapping[str, Mapping[str, Sequence[Image.Image]]],
    inverted: Image.Image | None,
) -> str:
    """Write what was found as HTML.

    Args:
        document: The numbers, as in omissions.json.
        shown: For some concepts the training and the generated images that show most of it.
        inverted: Training images drawn again.
    """
    title = f"What {escape(document['model'])} does not draw"
    verdicts = {each["concept"]: each["verdict"] for each in document["concepts"]}
    few = {name: sides for name, sides in shown.items() if verdicts[name] != MORE}
    many = {name: sides for name, sides in shown.items() if verdicts[name] == MORE}
    parts = [
        f'<h1>{title}</h1><p class="soft">{_about(document)}</p><div class="cards">{_cards(document)}</div>',
        section("Concept by concept", _concepts(document), "Mean share of an image, with intervals of 95 %."),
        section("Drawn too little", _both(few), "The images with most of it: if it is never drawn, it shows here."),
        section("Drawn too much", _both(many), "The images with most of it."),
        section("Drawn again", _inverted(document, inverted), "Training images, drawn again as well as the model can."),
    ]
    return whole_page(title, "\n".join(part for part in parts if part), LOOK)


def _about(document: Mapping[str, Any]) -> str:
    images = document["images"]
    return (
        f"{images['generated']} generated and {images['training']} training images, whose pixels were named by "
        f"{escape(document['source'])}. Concepts are marked at a rate of 5 % false discoveries; omitted are those of "
        "which less than a tenth is drawn. Intervals of distances leave out what few images add to them."
    )


def _cards(document: Mapping[str, Any]) -> str:
    distance, floor = document["distance"], document["floor"]
    omitted = [each["concept"] for each in document["concepts"] if each["verdict"] == OMITS]
    texts = (
        ("Fréchet segmentation distance", f"{distance['value']:.2f}", _between(distance)),
        ("Two halves of the training images", f"{floor['value']:.2f}", _between(floor)),
        ("Omitted", str(len(omitted)), escape(", ".join(omitted)) or "no concept"),
    )
    return "".join(f'<div class="card">{name}<b>{value}</b><small>{text}</small></div>' for name, value, text in texts)


def _between(estimate: Mapping[str, float]) -> str:
    return f"{estimate['low']:.2f} to {estimate['high']:.2f}"


def _concepts(document: Mapping[str, Any]) -> str:
    known = [each for each in document["concepts"] if each["training"]["value"] or each["generated"]["value"]]
    known.sort(key=lambda each: each["training"]["value"], reverse=True)
    rows = [
        (
            escape(each["concept"]),
            *(f'{each[side]["value"]:.2f} <span class="soft">{_between(each[side])}</span>' for side in SIDES),
            _ratio(each["ratio"]),
            *(f"{100 * each['images'][side]:.0f} %" for side in SIDES),
            f'<span class="{MARKS[each["verdict"]]}">{each["verdict"]}</span>',
        )
        for each in known
    ]
    heads = ("Concept", "Training, %", "Generated, %", "Ratio", "Images, training", "generated", "")
    return table(heads, rows, numbers=range(1, 6))


def _ratio(ratio: Mapping[str, float | None] | None) -> str:
    if ratio is None:
        return "–"
    high = "∞" if ratio["high"] is None else f"{ratio['high']:.2f}"
    return f'{ratio["value"]:.2f} <span class="soft">{ratio["low"]:.2f} to {high}</span>'


def _both(shown: Mapping[str, Mapping[str, Sequence[Image.Image]]]) -> str:
    def side(name: str, pictures: Sequence[Image.Image], concept: str) -> str:
        tags = "".join(image_tag(picture, f"{name} image with much {concept}") for picture in pictures)
        return f'<div><p>{name}</p><div class="row">{tags}</div></div>'

    return "".join(
        f'<div class="both"><h3>{escape(concept)}</h3>'
        + "".join(side(name, pictures, escape(concept)) for name, pictures in sides.items())
        + "</div>"
        for concept, sides in shown.items()
    )


def _inverted(document: Mapping[str, Any], strip: Image.Image | None) -> str:
    if strip is None:
        return ""
    found = document["inversion"]
    rows = [
        (escape(name), f"{area['given']:.2f}", f"{area['drawn']:.2f}")
        for name, area in found["areas"].items()
        if area["given"] or area["drawn"]
    ]
    text = (
        f"Above the training images; then the closest of other seeds; below the best that was found with residuals at "
        f"{escape(found['layer'])}. The table has the mean share of an image that each concept covers, in percent."
    )
    # Shown larger than other pictures of a page, because details are what it is about.
    whole = image_tag(strip, "training images, the closest of other seeds, and what was drawn at best", strip.width)
    return f'<p>{text}</p><div class="wide">{whole}</div>' + table(("Concept", "Given", "Drawn"), rows, numbers=(1, 2))
