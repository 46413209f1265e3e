"""The figures of a report, each with its name and what it means, by how they were measured."""

from collections.abc import Mapping
from typing import Any, NamedTuple

ONE_FIGURE = "Colours name no concepts, so that strict and lenient are one figure."
EFFICACY = {
    "concepts": "Share of the pixels that showed what the rule replaces and that now show what it wants.",
    "places": "Share of the way to the pasted picture that the pixels under the marks went, on the images that the "
    "rule was marked on.",
    "colours": "No rule says what is wanted.",
}
# In reports of earlier versions, which did not look at the image.
AT_LAYER = "Share of the wanted change that happened at the layer, on the images that the rule was marked on."
STRICT = "Share of all other pixels whose concept changed."
LENIENT = "The same without the pixels that became what the rule wants."
OUTSIDE = {
    "concepts": "Share of the pixels that neither showed what the rule replaces nor became what it wants whose concept "
    "changed.",
    "places": "Share of the pixels outside the marks whose colour moved, on the images that the rule was marked on. "
    + ONE_FIGURE,
    "colours": f"Share of all pixels whose colour moved. {ONE_FIGURE}",
}
UNSAID = "not stated"


class Figure(NamedTuple):
    """One figure of a report.

    Attributes:
        key: Its name in report.json; its interval is at `key + "_interval"`.
        label: What it is called.
        measure: The expectation of a rule that it is held against, or None.
        meaning: What it says, in a sentence.
    """

    key: str
    label: str
    measure: str | None
    meaning: str


def figures_of(document: Mapping[str, Any]) -> list[Figure]:
    """Efficacy, then what changed outside: strict and lenient where concepts were counted, else the one that there is.

    Args:
        document: What a report.json holds, of this version or an earlier one.
    """
    kind = str(document.get("measured_by"))
    efficacy = AT_LAYER if kind == "places" and not _looked_at_images(document) else EFFICACY.get(kind, UNSAID)
    found = [Figure("efficacy", "Efficacy", "efficacy", efficacy)]
    if kind == "concepts" and "outside_strict" in document:
        strict = Figure("outside_strict", "Change outside, strict", "strict", STRICT)
        return [*found, strict, Figure("outside_lenient", "Change outside, lenient", "outside", LENIENT)]
    return [*found, Figure("outside", "Change outside", "outside", OUTSIDE.get(kind, UNSAID))]


def _looked_at_images(document: Mapping[str, Any]) -> bool:
    places = document.get("places")
    return isinstance(places, list) and any(isinstance(each, Mapping) and "arrives" in each for each in places)
