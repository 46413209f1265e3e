"""Proposed contexts as a component: an image for each, to accept or to refuse, one by one or all at once.

Property: `proposals` (`[{"seed": 10003, "image": url, "places": 2, "marked": false}, …]`). The event `input` brings
requests (`requests.py`), whose index is the seed of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from apps.editor.component import ScriptedComponent
from apps.editor.data_urls import url
from apps.editor.model import Model
from apps.editor.requests import Request, read_requests
from rewrite import Proposal
from rewrite.reports.pictures import outlined

KNOWN = ("accept", "refuse", "accept_all", "refuse_all")
EMPTY = {"proposals": []}


class ProposalList(ScriptedComponent):
    """The proposals that were neither accepted nor refused yet."""

    def __init__(self, **properties: Any):
        super().__init__("proposal_list", "proposals", EMPTY, **properties)


def cards(model: Model, proposals: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The property `proposals`."""
    images = [model.drawer.at_hand((proposal.latent.seed,))[0] for proposal in proposals]
    return [
        {
            "seed": proposal.latent.seed,
            "image": url(outlined(image, [np.asarray(region.mask.array()) for region in proposal.regions])),
            "places": len(proposal.regions),
            "marked": proposal.marked,
        }
        for image, proposal in zip(images, proposals, strict=True)
    ]


def read_answers(document: Any, after: int) -> list[Request]:
    """Read the requests of a list; see `read_requests`."""
    return read_requests(document, after, KNOWN, lambda do, entry: None)
