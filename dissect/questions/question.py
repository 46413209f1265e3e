"""A question to a classifier, and the link that it is sent by."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from dissect.questions.subset import ABOVE, Lit, Subset
from dissect.sources.classes import ClassedPictures, Split
from rewrite.classifiers.classifier import Classifier
from rewrite.storage.quoting import quoted

# A set of all pictures by their numbers is far shorter.
LONGEST_LINK = 16_000
MOST_NUMBER = 2**31
MODEL, PICTURES, LAYER, CLASS, OFF, OF, NAMED, LIT, ONLY, AT = NAMES = (
    *("model", "pictures", "layer", "class", "off", "of", "named", "lit", "only", "at"),
)
CONDITION = re.compile(r"(\d{1,9})([<>])(-?[0-9.]{1,24}(?:e[+-]?\d{1,3})?)", re.ASCII)


@dataclass(frozen=True)
class Question:
    """What happens to some pictures, and to a class, with some units off?

    Attributes:
        part: Path of the part of the classifier that the units are of.
        number: The number of the class that is asked about.
        off: The units that are off.
        subset: The pictures that are asked about.
        at: One picture that is looked at closely, by its number; None for all that are asked about.
    """

    part: str
    number: int
    off: tuple[int, ...] = ()
    subset: Subset = field(default_factory=Subset)
    at: int | None = None

    def query(self, classes: Sequence[str], about: Mapping[str, str] | None = None) -> str:
        """The query of a link that asks it: `layer=relu5&class=domes&off=3,17`.

        Args:
            classes: The names of the classes.
            about: What the link is of, as `about` gives it; a link without it asks any classifier.

        Returns:
            The query, without a question mark.
        """
        subset = self.subset
        entries = [*(about or {}).items(), (LAYER, self.part), (CLASS, classes[self.number]), (OFF, _listed(self.off))]
        entries += [] if subset.of is None else [(OF, classes[subset.of])]
        entries += [] if subset.named is None else [(NAMED, classes[subset.named])]
        entries += [(LIT, str(each)) for each in subset.lit]
        entries += [] if subset.only is None else [(ONLY, _listed(subset.only))]
        entries += [] if self.at is None else [(AT, str(self.at))]
        return urlencode([entry for entry in entries if entry != (OFF, "")], safe=",<>")

    @classmethod
    def from_query(cls, query: str, classifier: Classifier, about: Mapping[str, str] | None = None) -> "Question":
        """Read the query of a link. Units and pictures are held against an examination when it is asked.

        Args:
            query: The query, with or without a question mark.
            classifier: The classifier that is asked.
            about: What the link has to be of if it says so, as `about` gives it.

        Returns:
            The question.

        Raises:
            LookupError: There is no such class.
            ValueError: The query asks nothing that can be asked, or another classifier or other pictures.
        """
        entries = _entries(query)
        for name, expected in (about or {}).items():
            if entries.get(name, [expected]) != [expected]:
                raise ValueError(f"this link is of another {_CALLED[name]} than the one that is open here")
        single = {name: values[0] for name, values in entries.items() if name != LIT}
        for name in (LAYER, CLASS):
            if name not in single:
                raise ValueError(f"this link names no {name}: it has to hold {LAYER}=… and {CLASS}=…")
        of, named, only, at = (single.get(name) for name in (OF, NAMED, ONLY, AT))
        return cls(
            single[LAYER],
            classifier.class_number(single[CLASS]),
            _numbers(single.get(OFF, ""), "units that are off"),
            Subset(
                None if of is None else classifier.class_number(of),
                None if named is None else classifier.class_number(named),
                tuple(map(_condition, entries.get(LIT, ()))),
                None if only is None else _numbers(only, "pictures"),
            ),
            None if at is None else _number(at, "a picture"),
        )


def about(classifier: Classifier, pictures: ClassedPictures, split: Split) -> dict[str, str]:
    """What a link is of: the classifier, and the pictures that its answer is counted on.

    Args:
        classifier: The classifier.
        pictures: Where the pictures are from.
        split: Which of them are used.

    Returns:
        Two short hashes by their names in a link.
    """
    text = f"{pictures.identity} {list(split.training)} {list(split.test)}"
    return {MODEL: classifier.fingerprint[:12], PICTURES: hashlib.sha256(text.encode()).hexdigest()[:12]}


_CALLED = {MODEL: "classifier", PICTURES: "set of pictures"}


def _entries(query: str) -> dict[str, list[str]]:
    if len(query) > LONGEST_LINK:
        raise ValueError(f"a link has at most {LONGEST_LINK} characters, got {len(query)}")
    entries: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise ValueError("this link is damaged: its query cannot be read") from None
    for name, value in pairs:
        if name not in NAMES:
            raise ValueError(f"a link has no {quoted(name)}: it may hold {', '.join(NAMES)}")
        if name in entries and name != LIT:
            raise ValueError(f"a link names {name} once")
        entries.setdefault(name, []).append(value)
    return entries


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _number(text: str, called: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > MOST_NUMBER:
        raise ValueError(f"a link names {called} by a whole number, got {quoted(text)}")
    return int(text)


def _numbers(text: str, called: str) -> tuple[int, ...]:
    found = tuple(_number(part, called) for part in text.split(",")) if text else ()
    if len(set(found)) < len(found):
        raise ValueError(f"a link names {called} once each")
    return found


def _condition(text: str) -> Lit:
    found = CONDITION.fullmatch(text)
    try:
        level = float(found[3]) if found else math.nan
    except ValueError:
        level = math.nan
    if found is None or not math.isfinite(level):
        raise ValueError(f"a condition on a unit is such as 12>0.5, got {quoted(text)}")
    return Lit(int(found[1]), level, found[2] == ABOVE)
