"""The proposals of a session that were neither accepted nor refused yet, and their places on the wall."""

from collections.abc import Iterable
from typing import Any

from apps.editor.draft import Draft
from apps.editor.given import number_of
from apps.editor.marks import Mark, documents, merged
from apps.editor.options import MOST_TILES
from apps.editor.requests import Request
from rewrite import Mask, Proposal, Region


class Offers:
    """Proposed contexts that wait for an answer.

    Attributes:
        waiting: The proposals.
        refused: The numbers of images whose proposals were refused; they are not offered again.
        turn: The last request that was carried out.
        lent: The numbers of images that are on the wall only because something in them is offered.
    """

    def __init__(self, turn: int = 0):
        self.waiting: tuple[Proposal, ...] = ()
        self.refused = self.lent = frozenset[int]()
        self.turn = turn

    def offer(self, found: Iterable[Proposal]) -> None:
        """Offer proposals in place of those that waited."""
        self.waiting = tuple(each for each in found if number_of(each.latent) not in self.refused)

    def answer(self, requests: Iterable[Request]) -> tuple[Region, ...]:
        """Carry out answers.

        Returns:
            The accepted regions.
        """
        accepted: list[Region] = []
        for request in requests:
            self.turn = request.turn
            every = request.do.endswith("_all")
            meant = [each for each in self.waiting if every or number_of(each.latent) == request.index]
            self.waiting = tuple(each for each in self.waiting if each not in meant)
            if request.do.startswith("accept"):
                accepted += [region for each in meant for region in each.regions]
            else:
                self.refused |= {number_of(each.latent) for each in meant}
        return tuple(accepted)

    def shown(self, draft: Draft) -> tuple[int, ...]:
        """The images of a wall with those of proposals as far as there is room, without those of refused ones."""
        waiting, marked = [number_of(each.latent) for each in self.waiting], {mark.seed for mark in draft.marks}
        gone = self.lent - {*waiting, *marked}
        kept = tuple(seed for seed in draft.seeds if seed not in gone) or draft.seeds[:1]
        wall = tuple(dict.fromkeys((*kept, *waiting)))[: max(len(kept), MOST_TILES)]
        self.lent = frozenset(wall) - marked - (frozenset(draft.seeds) - self.lent)
        return wall

    def left_out(self, draft: Draft) -> tuple[int, ...]:
        """The images of a wall without those that are lent to it: what is kept of it, as no proposal is."""
        lent = self.lent - {mark.seed for mark in draft.marks}
        return tuple(seed for seed in draft.seeds if seed not in lent) or draft.seeds


def outlines(offers: Offers, side: int) -> list[dict[str, Any]]:
    """The property `offered` of a wall whose masks have this side."""
    found = [Mark("", region) for each in offers.waiting for region in each.regions]
    fitted = [(each.region.latent, each.region.mask.resized((side, side))) for each in found]
    whole = merged(Mark("", Region(latent, Mask.from_array(mask))) for latent, mask in fitted)
    return [{"seed": each["seed"], "runs": each["runs"]} for each in documents(whole)]
