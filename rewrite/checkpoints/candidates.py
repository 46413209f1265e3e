"""The networks that a file may hold: state dicts and pickled modules, at any depth and under any prefix."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rewrite.checkpoints.archives import DEEPEST
from rewrite.checkpoints.budget import Budget
from rewrite.checkpoints.made import Made
from rewrite.checkpoints.persistent import is_module, tensors_of
from rewrite.checkpoints.tensors import Placed

CHOICE = "::"
SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
# What torch puts before names of its own accord: DataParallel and torch.compile.
WRAPPERS = ("module", "_orig_mod")
LONGEST_PREFIX = 4
# Steps that a candidate costs, which each family looks at, and one of its tensors.
LOOKS, ENTRY = 30, 5
WORD = re.compile(r"[._]|(?<=[a-z])(?=[A-Z])")
AVERAGES = {"ema", "ge", "running"}
GENERATORS = {"g", "gen", "gs", "generator", "netg"} | AVERAGES
OTHERS = {"d", "de", "disc", "discriminator", "netd", "critic", "encoder", "enc", "decoder", "dec", "vae"}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A state dict or a pickled module in what a file holds.

    Attributes:
        content: What is there: a dictionary, a module, or whatever else the file holds.
        path: The keys of the dictionaries that lead to it.
        prefix: What its tensors' names begin with in the file, and no more in `state`; empty, or without its last dot.
        state: Its tensors, by names without the prefix and without what torch puts into names.
        names: The names in the file, by those of `state`.
        around: The dictionaries around it, innermost first.
        alone: Whether its dictionary holds no other tensors.
        chosen: Whether the user named it.
        size: Height and width of the latents that a decoder shall read; None for the usual ones.
    """

    content: Any
    path: tuple[str, ...] = ()
    prefix: str = ""
    state: Mapping[str, Placed] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    around: tuple[Mapping, ...] = ()
    alone: bool = True
    chosen: bool = False
    size: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """What names it behind `MODEL::`; empty for the whole file."""
        return ".".join((*self.path, *([self.prefix] if self.prefix else [])))

    @property
    def words(self) -> set[str]:
        """The words of its key."""
        return {word.lower() for word in WORD.split(self.key)}

    @property
    def rank(self) -> int:
        """How likely it is what is wanted, least first: an average over training, a generator, something unnamed."""
        return 0 if self.words & AVERAGES else 1 if self.words & GENERATORS else 2

    @property
    def plain(self) -> bool:
        """Whether the user or its names say that it is a generator, or all names say nothing."""
        return self.chosen or bool(self.words & GENERATORS) or (self.alone and not self.words & OTHERS)

    def beside(self, name: str) -> Any:
        """An entry of the innermost dictionary around it that has one of this name; None if there is none."""
        return next((each[name] for each in self.around if name in each), None)


def candidates(content: Any, budget: Budget | None = None) -> Iterator[Candidate]:
    """Everything in a file that may be a network; the whole comes first.

    Args:
        content: What the file holds.
        budget: What the walk may cost, which it shares with the reading of the file; as much again if left out.

    Raises:
        DamagedError: There are so many, or modules are nested or shared so that there is no end of their tensors.
    """
    budget = budget or Budget()
    for each in _within(content, (), (), set(), budget):
        # Its key is taken apart into words.
        budget.spend(max(LOOKS, len(each.key)))
        yield each


def chosen(held: Sequence[Candidate], key: str) -> list[Candidate]:
    """Those that the user named by a key: what lies there, and inside of it. None if nothing lies there."""
    if all(each.key != key for each in held):
        return []
    return [replace(each, chosen=True) for each in held if f"{each.key}.".startswith(f"{key}.")]


def fitting(held: Sequence[Candidate], recognises: Callable[[Candidate], bool]) -> list[Candidate]:
    """The likeliest of the networks that a family recognises; several if none is likelier than the others."""
    found: dict[frozenset, Candidate] = {}
    for each in held:
        if recognises(each):
            # One network under two names is one; the outermost comes first.
            found.setdefault(_tensors(each), each)
    least = min((each.rank for each in found.values()), default=0)
    return [each for each in found.values() if each.rank == least]


def split_choice(model: str | Path) -> tuple[str, str | None]:
    """`MODEL::key` as model and key, `MODEL::key::64x64` too; the key is None where none is named."""
    name = str(model)
    before, mark, key = name.rpartition(CHOICE)
    if not mark or not before or Path(name).exists():
        return name, None
    if SIZE.fullmatch(key):
        before, other = split_choice(before)
        key = key if other is None else f"{other}{CHOICE}{key}"
    return before, key


def split_size(key: str | None) -> tuple[str | None, tuple[int, int] | None]:
    """A key of `split_choice` without the size of latents behind it, and that size."""
    rest, _, last = (key or "").rpartition(CHOICE)
    found = SIZE.fullmatch(last)
    return (key, None) if found is None else (rest or None, (int(found[1]), int(found[2])))


def _tensors(candidate: Candidate) -> frozenset:
    """What it is made of: equal for two that share all their numbers."""
    return frozenset(tensor.where for tensor in candidate.state.values())


def _within(
    content: Any, path: tuple[str, ...], around: tuple[Mapping, ...], seen: set[int], budget: Budget
) -> Iterator[Candidate]:
    if len(path) > DEEPEST or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, Made) and is_module(content):
        yield from _prefixed(content, dict(tensors_of(content, budget)), path, around, budget)
    elif isinstance(content, dict):
        state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Placed)}
        yield from _prefixed(content, state, path, around, budget)
        for name, value in content.items():
            if isinstance(name, str):
                yield from _within(value, (*path, name), (content, *around), seen, budget)
    elif not path:
        yield Candidate(content)


def _prefixed(
    content: Any, tensors: Mapping[str, Placed], path: tuple[str, ...], around: tuple[Mapping, ...], budget: Budget
) -> Iterator[Candidate]:
    """What is in one dictionary or module: all of it, and the tensors of each prefix."""
    groups: dict[str, dict[str, str]] = {"": {}}
    for name in tensors:
        budget.spend(name.count("."))
        parts = [part for part in name.split(".") if part not in WRAPPERS]
        for depth in range(min(len(parts), LONGEST_PREFIX + 1)):
            budget.spend(ENTRY)
            budget.letters(len(name))
            groups.setdefault(".".join(parts[:depth]), {})[".".join(parts[depth:])] = name
    for prefix, names in groups.items():
        state = {short: tensors[name] for short, name in names.items()}
        inside = around if not prefix or isinstance(content, Made) else (content, *around)
        yield Candidate(content, path, prefix, state, names, inside, alone=len(names) == len(tensors))
