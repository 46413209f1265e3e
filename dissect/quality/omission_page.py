"""What a generator does not draw, as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dissect.quality.omissions import ALIKE, MORE, OMITS
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "omission_page.html"


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
    concepts = document["concepts"]
    verdicts = {each["concept"]: each["verdict"] for each in concepts}
    known = [each for each in concepts if each["training"]["value"] or each["generated"]["value"]]
    return render(
        TEMPLATE,
        title=f"What {document['model']} does not draw",
        document=document,
        omitted=[name for name, verdict in verdicts.items() if verdict == OMITS],
        known=sorted(known, key=lambda each: each["training"]["value"], reverse=True),
        few={name: sides for name, sides in shown.items() if verdicts[name] != MORE},
        many={name: sides for name, sides in shown.items() if verdicts[name] == MORE},
        inverted=inverted,
        alike=ALIKE,
    )
