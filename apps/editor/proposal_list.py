"""Proposed contexts as a component: all are answered at once here, and those that the wall has no room for one by one.

The wall shows the places on its tiles, and tells this component the answers that are given there.

Property: `proposals` (`[{"seed": 10003, "image": url, "places": 2, "marked": false}, …]`). The event `input` brings
requests (`requests.py`), whose index is the seed of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from apps.editor.component import ScriptedComponent
from apps.editor.data_urls import url
from apps.editor.given import number_of
from apps.editor.model import Model
from apps.editor.requests import Request, read_requests
from rewrite import Proposal
from rewrite.reports.pictures import outlined

KNOWN = ("accept", "refuse", "accept_all", "refuse_all")
EMPTY = {"proposals": []}


class ProposalList(ScriptedComponent):
    """The proposals that were neither accepted nor refused yet."""

    def __init__(self, **properties: Any):
        super().__init__("proposal_list", "proposals", EMPTY, parts=["offered"], **properties)


def cards(model: Model, proposals: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The property `proposals`."""
    images = [model.drawer.at_hand((number_of(proposal.latent),))[0] for proposal in proposals]
    return [
        {
            "seed": number_of(proposal.latent),
            "image": url(outlined(image, [np.asarray(region.mask.array()) for region in proposal.regions])),
            "places": len(proposal.regions),
            "marked": proposal.marked,
        }
        for image, proposal in zip(images, proposals, strict=True)
    ]


def read_answers(document: Any, after: int) -> list[Request]:
    """Read the requests of a list; see `read_requests`."""
    return read_requests(document, after, KNOWN, lambda do, entry: None)
