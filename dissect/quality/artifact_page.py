"""Artifact units as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from dissect.charts import Point, curves
from rewrite.reports.page import image_tag, pairs_of, section, table, whole_page
from rewrite.reports.pictures import Pair

LOOK = """
th,td{overflow-wrap:normal}
.tops{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:.75rem}
.tops .card h3{margin:0 0 .35rem;font-size:1rem;display:flex;justify-content:space-between;gap:.5rem}
.tops h3 span{white-space:nowrap}
.tops h3 i{text-align:right;font-style:normal;font-weight:400;color:var(--soft);font-size:.85rem}
.row{display:grid;grid-template-columns:repeat(6,1fr);gap:2px}.row img{width:100%;height:auto;display:block}
"""


def artifact_page(document: Mapping[str, Any], pairs: Sequence[Pair], tops: Mapping[int, Sequence[Image.Image]]) -> str:
    """Write what was found as HTML.

    Args:
        document: The numbers, as in artifacts.json.
        pairs: Images of the test before and after.
        tops: The top images of some units.
    """
    title = f"Artifact units of {escape(document['model'])}, layer {escape(document['layer'])}"
    parts = [
        f'<h1>{title}</h1><p class="soft">{_about(document)}</p><div class="cards">{_cards(document)}</div>',
        section(
            "Before and after",
            pairs_of(pairs),
            "The unseen images that change most: above as the model draws them, below with the units off.",
        ),
        section("How many units", _curve(document), "The distance on the images that the units were chosen on."),
        section("Against random sets", _sets(document), "On unseen images, as many units off each time."),
        section("Units", _tops(document, tops), "The images that drive a unit most; marked are those that are taken."),
    ]
    return whole_page(title, "\n".join(part for part in parts if part), LOOK)


def _about(document: Mapping[str, Any]) -> str:
    reference = {"scenes": "drawn scenes", "seeds": "the typical half of the model's own images"}
    return (
        f"{len(document['units'])} of {len(document['ranking'])} units, chosen on {document['chosen_on']} images and "
        f"reported on {document['tested_on']} others. Distance: squared Fréchet distance, in the features of "
        f"{escape(document['features'])}, from {escape(reference.get(document['reference'], document['reference']))}. "
        "Intervals are those of 95 %, without what few images add to a distance."
    )


def _cards(document: Mapping[str, Any]) -> str:
    cards = [_card("Before", document["before"], f"Two halves of the reference: {document['floor']:.4f}.")]
    if "after" in document:
        after = document["after"]
        verdict = ("good", "It falls beyond chance.") if after["better"] else ("bad", "It may be chance.")
        text = f'<span class="{verdict[0]}">{verdict[1]}</span>'
        cards += [_card("Units off", after["distance"], text), _card("Fall", after["fall"], _share(document))]
    return "".join(cards)


def _share(document: Mapping[str, Any]) -> str:
    return f"{100 * document['after']['fall']['value'] / document['before']['value']:.0f} % of the distance before."


def _card(label: str, estimate: Mapping[str, float], text: str) -> str:
    return (
        f'<div class="card">{label}<b>{estimate["value"]:.4f}</b>'
        f'<span class="soft">{estimate["low"]:.4f} to {estimate["high"]:.4f}</span><br><small>{text}</small></div>'
    )


def _curve(document: Mapping[str, Any]) -> str:
    steps = document["steps"]
    if len(steps) < 2:
        return "<p>No unit lowers it.</p>"
    points = [Point(len(step["units"]), step["distance"]) for step in steps]
    chart = curves({"distance": points}, "The distance as units go off", "units off", "distance")
    return (
        f'<div class="scroll">{chart}</div><p class="soft">In the order {", ".join(map(str, document["units"]))}.</p>'
    )


def _sets(document: Mapping[str, Any]) -> str:
    named = [("the units found", document["after"])] if "after" in document else []
    named += [("random", each) for each in document["random"]]
    rows = [
        (
            name,
            *(f"{outcome[part]['value']:.4f}" for part in ("distance", "fall")),
            f"{outcome['fall']['low']:.4f} to {outcome['fall']['high']:.4f}",
            escape(", ".join(map(str, outcome["units"]))),
        )
        for name, outcome in named
    ]
    return table(("Set", "Distance", "Fall", "Interval of the fall", "Units"), rows, numbers=(1, 2, 3)) if rows else ""


def _tops(document: Mapping[str, Any], tops: Mapping[int, Sequence[Image.Image]]) -> str:
    shown = [(rank, each) for rank, each in enumerate(document["ranking"], start=1) if each["unit"] in tops]
    shown.sort(key=lambda entry: not entry[1]["taken"])
    cards = "".join(
        f'<div class="card"><h3><span>unit {each["unit"]}{" · taken" if each["taken"] else ""}</span>'
        f'<i>distance of its images {each["distance"]:.3f}, rank {rank}</i></h3><div class="row">'
        + "".join(
            image_tag(picture, f"image {seed}")
            for picture, seed in zip(tops[each["unit"]], each["top_images"], strict=True)
        )
        + "</div></div>"
        for rank, each in shown
    )
    return f'<div class="tops">{cards}</div>'
