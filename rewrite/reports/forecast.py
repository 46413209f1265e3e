"""What a patch's forecast says, in the order in which it matters: at unmarked places, then at the marks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

LARGEST = 1e15
TOO_FEW = "too few images are marked to leave one out: what arrives at places that are not marked is not known"
# By the part of `left_out` that holds them: the images drawn, and the layer.
UNMARKED = {
    "drawn": {
        "arrives": "Share of the way to the pasted picture that pixels go at places that were not marked.",
        "strays": "Change of the pixels beside them: the root of its mean square, for images in [-1, 1].",
        "moves": "Share of the pixels beside them whose colour moves.",
    },
    "layer": {
        "arrives": "Share of the wanted change that arrives at the layer at places that were not marked.",
        "beside": "Relative change of what the layer writes beside them.",
    },
}
MARKS = {
    "residual": "Share of the wanted change that is missing at the marked places.",
    "damage": "Expected relative change of what the layer writes elsewhere.",
    "drift": "Mean ratio of the layer's demodulation to what it was; 1 is none.",
    "interference": "Relative change at places that were to stay.",
}
MISSED = "What the marked images lack of the pasted pictures, on average over pixels; {:.3f} before the {}."
SEEN = ("finish", "descent")


@dataclass(frozen=True)
class Expected:
    """A number of a forecast.

    Attributes:
        name: What it is called.
        value: The number.
        meaning: What it says, in a sentence.
        ends: The least and the greatest of the images that were left out, where they are known.
    """

    name: str
    value: float
    meaning: str
    ends: tuple[float, float] | None = None

    def __str__(self) -> str:
        ends = "" if self.ends is None else f" ({self.ends[0]:.3f} to {self.ends[1]:.3f})"
        return f"{self.name} {self.value:.3f}{ends}"


class Summary(NamedTuple):
    """What a forecast says: at unmarked places, at the marks, and in words."""

    unmarked: list[Expected]
    marks: list[Expected]
    notes: list[str]


def summary_of(forecast: Mapping[str, Any]) -> Summary:
    """All that a forecast says."""
    return Summary(unmarked(forecast), at_marks(forecast), notes_of(forecast))


def unmarked(forecast: Mapping[str, Any]) -> list[Expected]:
    """What is expected at unmarked places, by images that were left out: in the image, then at the layer."""
    layer = _part(forecast, "left_out")
    found = [*_left_out(_part(layer, "drawn"), "drawn"), *_left_out(layer, "layer")]
    # A descent follows the image: it need not write what was copied.
    return [each for each in found if not ("descent" in forecast and each.name == "arrives at the layer")]


def at_marks(forecast: Mapping[str, Any]) -> list[Expected]:
    """How the answer fits the marks that it was solved for: in the image where it was finished there."""
    finished = _seen(forecast)
    # What follows the image leaves what was wanted at the layer.
    names = [name for name in MARKS if not (finished and name == "residual")]
    return finished + [
        Expected(f"{name} {part}".strip(), number, MARKS[name])
        for name in names
        for part, number in _numbers(forecast.get(name))
    ]


def _seen(forecast: Mapping[str, Any]) -> list[Expected]:
    """What was adjusted or found in the image, by what it lacks there."""
    found = {name: _part(forecast, name).get("missed") for name in SEEN}
    return [
        Expected("missed in the image", float(missed[1]), MISSED.format(missed[0], name))
        for name, missed in found.items()
        if isinstance(missed, list | tuple) and len(missed) == 2 and all(map(is_number, missed))
    ]


def notes_of(forecast: Mapping[str, Any]) -> list[str]:
    """What a reader should know beside the numbers, one sentence each."""
    known = forecast.get("notes")
    few = [TOO_FEW] if "left_out" in forecast and forecast["left_out"] is None else []
    return [*few, *(note for note in known if isinstance(note, str))] if isinstance(known, list | tuple) else few


def lines_of(forecast: Mapping[str, Any]) -> list[str]:
    """The forecast as lines of text."""
    found = summary_of(forecast)
    groups = {"at places that were not marked": found.unmarked, "by what was solved for": found.marks}
    lines = [f"forecast {where}: {', '.join(map(str, numbers))}" for where, numbers in groups.items() if numbers]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def is_number(value: Any) -> bool:
    """Whether a value of a file is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _left_out(found: Mapping[str, Any], where: str) -> Iterator[Expected]:
    suffix = {"drawn": "in the image", "layer": "at the layer"}[where]
    for name, meaning in UNMARKED[where].items():
        if is_number(found.get(name)):
            ends = _ends(found.get("each")) if name == "arrives" else None
            yield Expected(f"{name} {suffix}", float(found[name]), meaning, ends)


def _ends(each: Any) -> tuple[float, float] | None:
    known = [float(number) for number in each if is_number(number)] if isinstance(each, Sequence) else []
    return (min(known), max(known)) if len(known) > 1 else None


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _numbers(value: Any) -> Iterable[tuple[str, float]]:
    parts = value.items() if isinstance(value, Mapping) else [("", value)]
    return [(str(part), float(number)) for part, number in parts if is_number(number)]
