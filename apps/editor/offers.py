"""The proposals of a session that were neither accepted nor refused yet."""

from collections.abc import Iterable

from apps.editor.requests import Request
from rewrite import Proposal, Region


class Offers:
    """Proposed contexts that wait for an answer.

    Attributes:
        waiting: The proposals.
        refused: The seeds of images whose proposals were refused; they are not offered again.
        turn: The last request that was carried out.
    """

    def __init__(self, turn: int = 0):
        self.waiting: tuple[Proposal, ...] = ()
        self.refused: frozenset[int] = frozenset()
        self.turn = turn

    def offer(self, found: Iterable[Proposal]) -> None:
        """Offer proposals in place of those that waited."""
        self.waiting = tuple(each for each in found if each.latent.seed not in self.refused)

    def answer(self, requests: Iterable[Request]) -> tuple[Region, ...]:
        """Carry out answers.

        Returns:
            The accepted regions.
        """
        accepted: list[Region] = []
        for request in requests:
            self.turn = request.turn
            every = request.do.endswith("_all")
            meant = [each for each in self.waiting if every or each.latent.seed == request.index]
            self.waiting = tuple(each for each in self.waiting if each not in meant)
            if request.do.startswith("accept"):
                accepted += [region for each in meant for region in each.regions]
            else:
                self.refused |= {each.latent.seed for each in meant}
        return tuple(accepted)
