"""Sessions of the editor for tests, and marks for them."""

from apps.editor.contexts import find_regions
from apps.editor.models import Models
from apps.editor.session import Session
from apps.editor.stack import Entry


def begun(models: Models) -> Session:
    """A session that leaves copied values as they are: adjusting them takes half of the time of a solution."""
    session = Session(models)
    session.choose(refine=False)
    return session


def rewrite(session: Session) -> Entry:
    """Solve the rule of the marks, and put it on the stack."""
    return session.begin().rewrite(session.draft.rule_with_effect("rule"), session.draft.choices.caution)


def find(session: Session, concept: str, further: int = 0) -> int:
    """Mark a concept as context; how many places there are."""
    found = find_regions(session.begin(), session.draft, concept, further)
    session.add_contexts(*found)
    return sum(map(len, found))


def box(top: int, left: int, size: int = 4, side: int = 16) -> list[list[int]]:
    return [[row * side + left, size] for row in range(top, top + size)]


def brushed(*marks: tuple[int, str, list]) -> dict:
    return {"marks": [{"seed": seed, "role": role, "runs": runs} for seed, role, runs in marks], "heat": False}


WHOLE = brushed((1, "copy", box(2, 2)), (2, "paste", box(8, 8)), (3, "context", box(8, 4)), (4, "context", box(4, 8)))
