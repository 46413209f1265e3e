"""The data that a page of units holds, and its script draws cards from."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dissect.charts import colour_of

# Of 65535 steps, so that a number takes two bytes.
STEPS = 2**16 - 1
QUALITY = 75


def cards_of(
    document: Mapping[str, Any],
    strips: Mapping[str, Sequence[Image.Image]],
    ious: Mapping[str, Float[np.ndarray, "units concepts"]],
) -> dict[str, Any]:
    """All that the cards show, as plain numbers and texts."""
    kinds = list(dict.fromkeys(concept["category"] for concept in document["concepts"]))
    numbers = {concept["name"]: number for number, concept in enumerate(document["concepts"])}
    return {
        "kinds": kinds,
        "colours": [colour_of(number) for number in range(len(kinds))],
        "concepts": [(concept["name"], kinds.index(concept["category"])) for concept in document["concepts"]],
        "layers": [
            {
                "layer": layer["layer"],
                "scores": _packed(ious[layer["layer"]]),
                "units": [
                    _unit(unit, strip, numbers)
                    for unit, strip in zip(layer["unit"], strips[layer["layer"]], strict=True)
                ],
            }
            for layer in document["layers"]
        ],
    }


def _unit(unit: Mapping[str, Any], strip: Image.Image, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "unit": unit["unit"],
        "detects": unit["detects"],
        "sure": unit["beyond_chance"],
        "level": None if unit["level"] is None else f"{unit['level']:.3g}",
        "low": _rounded(unit["low"]),
        "high": _rounded(unit["high"]),
        "pairs": [
            (numbers[pair["concept"]], *(_rounded(pair[name]) for name in ("iou", "ceiling", "chance", "q")))
            for pair in (unit, *unit["runners_up"])
        ],
        "images": unit["top_images"][:5],
        "size": strip.size,
        "strip": _jpeg(strip),
    }


def _packed(ious: Float[np.ndarray, "units concepts"]) -> str:
    return base64.b64encode((ious * STEPS).round().astype("<u2").tobytes()).decode()


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
