"""Kills and faults of the disk: what a command leaves, whatever ends it.

    python -m tests.faults kills --moments 200 --seed 1
    python -m tests.faults disk --seed 1

A command has survived when its files are all the old ones or all the new ones, and when the same command, run again,
ends well and leaves no temporary file. Half of the kills fall at any moment of a command's time, and half right before
one of its changes to files, which take so little of the time that the former seldom meet them. The editor is killed in
its changes alone (`tests/editor_faults.py`).
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from tests import disks, editor_faults
from tests.fault_cases import Case, cases, held, wrong_after

EDITOR = "editor"
ROOM = 2**24
SLOW = 0.02
# What a command says goes into a file, too.
LEAST_QUOTA = 1000


class Chance:
    """Where kills and faults fall.

    Attributes:
        random: Draws moments.
        seconds: How long each command takes.
        changes: How many changes it makes to files, over what another run left and in an empty place.
    """

    def __init__(self, seed: int, folder: Path):
        self.random, self.folder = random.Random(seed), folder
        self.seconds: dict[str, float] = {}
        self.changes: dict[tuple[str, bool], int] = {}

    def look(self, case: Case) -> None:
        """Take the time of a command, and count what it changes."""
        place = self.folder / "looked at"
        for again in (False, True):
            place.mkdir(exist_ok=True)
            count, begun = self.folder / "count", time.monotonic()
            status, said = case.start(place / "out", partial(disks.counted, place, count)).end()
            if status != 0:
                raise RuntimeError(f"{case.name} ended with {status}: {said}")
            self.seconds[case.name] = time.monotonic() - begun
            self.changes[case.name, again] = count.stat().st_size
            count.unlink()
        shutil.rmtree(place)

    def change(self, case: Case, again: bool) -> int:
        """One of the changes that a command makes."""
        return self.random.randrange(self.changes[case.name, again])


def begun(case: Case, place: Path, again: bool) -> dict[str, bytes]:
    """What lies in a place before: nothing, or what another run left."""
    if again:
        case.start(place / "out").end()
    return held(place / "out")


def kill(case: Case, place: Path, chance: Chance) -> str | None:
    """Kill a command at a random moment; what is wrong afterwards."""
    out, again, writing = place / "out", chance.random.random() < 0.5, chance.random.random() < 0.5
    before = begun(case, place, again)
    if writing:
        case.start(out, partial(disks.killed_at, place, chance.change(case, again))).end()
    else:
        running = case.start(out)
        time.sleep(chance.random.uniform(0, chance.seconds[case.name]))
        os.kill(running.child, signal.SIGKILL)
        running.end()
    return wrong_after(case, out, before)


def after_failure(case: Case, out: Path, before: Mapping[str, bytes], ended: tuple[int, str]) -> str | None:
    """What is wrong after a command on a faulty disk: a refusal with the old files, or an end as ever."""
    status, said = ended
    if status == 2 and held(out) != dict(before):
        return f"it was refused, and its files are others: {said[-300:]}"
    return wrong_end(ended) or wrong_after(case, out, before)


def wrong_end(ended: tuple[int, str]) -> str | None:
    """What is wrong with how a command ended: not that a sentence refused it."""
    status, said = ended
    return f"it ended with {status}: {said[-300:]}" if status not in (0, 2) or "Traceback" in said else None


def failing(error: str, case: Case, place: Path, chance: Chance) -> str | None:
    """A disk that refuses every change from a random one on; where it refuses to remove files, too, all may be new."""
    out, again = place / "out", chance.random.random() < 0.5
    before = begun(case, place, again)
    prepare = partial(disks.failing_from, place, chance.change(case, again), disks.ERRORS[error])
    return wrong_end(case.start(out, prepare).end()) or wrong_after(case, out, before)


def limited(case: Case, place: Path, chance: Chance) -> str | None:
    """A quota that is reached in the middle of a file."""
    before = begun(case, place, True)
    largest = max(map(len, before.values()))
    most = chance.random.randrange(LEAST_QUOTA, max(LEAST_QUOTA + 1, largest))
    return after_failure(case, place / "out", before, case.start(place / "out", partial(disks.limited, most)).end())


def full(case: Case, place: Path, chance: Chance) -> str | None:
    """A disk that has room for a part of what is written."""
    with disks.mounted(place, ROOM):
        before = begun(case, place, chance.random.random() < 0.5)
        size = sum(len(content) for content in before.values()) or 20_000
        used = ROOM - shutil.disk_usage(place).free
        disks.remount(place, f"size={used + chance.random.randrange(size)}")
        ended = case.start(place / "out").end()
        disks.remount(place, f"size={ROOM}")
        return after_failure(case, place / "out", before, ended)


def shut(case: Case, place: Path, chance: Chance) -> str | None:
    """A disk that is shut for writing."""
    with disks.mounted(place, ROOM):
        before = begun(case, place, chance.random.random() < 0.5)
        disks.remount(place, "ro")
        ended = case.start(place / "out").end()
        disks.remount(place, "rw")
        return "it ended well" if ended[0] != 2 else after_failure(case, place / "out", before, ended)


def below_a_file(case: Case, place: Path, chance: Chance) -> str | None:
    """A place in which nothing can be made, as a file is in the way."""
    (place / "file").write_text("in the way")
    status, said = case.start(place / "file" / "out").end()
    refused = status == 2 and "Traceback" not in said and (place / "file").read_text() == "in the way"
    return None if refused else f"it ended with {status}: {said[-200:]}"


def slow(case: Case, place: Path, chance: Chance) -> str | None:
    """A slow disk, on which a kill falls into the writing more often."""
    before = begun(case, place, chance.random.random() < 0.5)
    running = case.start(place / "out", partial(disks.slowed, place, SLOW))
    time.sleep(chance.seconds[case.name] * chance.random.uniform(0.3, 1.5))
    os.kill(running.child, signal.SIGKILL)
    running.end()
    return wrong_after(case, place / "out", before)


def two_writers(case: Case, place: Path, chance: Chance) -> str | None:
    """Two runs at once into one place: one file or group of files is whole at the end, and each run ends in words."""
    out = place / "out"
    both = [case.start(out) for _ in range(2)]
    ended = [each.end() for each in both]
    if any("Traceback" in said for _, said in ended) or all(status != 0 for status, _ in ended):
        return f"they ended with {ended}"[:400]
    return wrong_after(case, out, held(out))


MOUNTED = {"full disk": full, "read-only disk": shut}
FAULTS: dict[str, Callable[[Case, Path, Chance], str | None]] = {
    **{f"{error}, from a change on": partial(failing, error) for error in disks.ERRORS},
    "quota inside of a file": limited,
    "below a file": below_a_file,
    "slow, and killed": slow,
    "two writers": two_writers,
}


class Table:
    """What was tried, and what failed."""

    def __init__(self):
        self.tried, self.failed = Counter[str](), Counter[str]()

    def add(self, name: str, wrong: str | None) -> None:
        """Count one try, and tell what was wrong."""
        self.tried[name] += 1
        if wrong:
            self.failed[name] += 1
            print(f"{name}: {wrong}", flush=True)

    def show(self, title: str) -> None:
        """Print it."""
        print(f"{title:32}{'tried':>8}{'survived':>10}{'failed':>8}")
        for name in self.tried:
            self._line(name, self.tried[name], self.failed[name])
        self._line("all", self.tried.total(), self.failed.total())

    def _line(self, name: str, tried: int, failed: int) -> None:
        print(f"{name:32}{tried:8}{tried - failed:10}{failed:8}")


def killed(known: Mapping[str, Case], made: Path, options: argparse.Namespace) -> Table:
    """Kill the commands and the editor in turn."""
    table, chance = Table(), Chance(options.seed, made)
    names = [*known, EDITOR]
    editor = editor_faults.Killed(made, chance.random) if EDITOR in options.only or not options.only else None
    chosen = [name for name in names if not options.only or name in options.only]
    for number in range(options.moments):
        name, place = chosen[number % len(chosen)], made / "place"
        place.mkdir()
        if name == EDITOR:
            table.add(name, editor.kill(place))
        else:
            if name not in chance.seconds:
                chance.look(known[name])
            table.add(name, kill(known[name], place, chance))
        shutil.rmtree(place)
    return table


def disturbed(known: Mapping[str, Case], made: Path, options: argparse.Namespace) -> Table:
    """Run every command on each faulty disk."""
    table, chance = Table(), Chance(options.seed, made)
    chosen = [case for name, case in known.items() if not options.only or name in options.only]
    for case in chosen:
        chance.look(case)
    for fault, act in {**FAULTS, **(MOUNTED if disks.can_mount() else {})}.items():
        for case in chosen:
            place = made / "place"
            place.mkdir()
            wrong = act(case, place, chance)
            table.add(fault, wrong and f"{case.name}: {wrong}")
            shutil.rmtree(place)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "disk"))
    parser.add_argument("--moments", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), metavar="COMMAND", help="these commands (default: all)")
    options = parser.parse_args()
    if options.what == "disk":
        disks.with_own_mounts()
    torch.set_num_threads(1)  # forks of a process with threads may hang
    with tempfile.TemporaryDirectory() as made:
        os.environ["REWRITE_CACHE"] = f"{made}/cache"
        table = (killed if options.what == "kills" else disturbed)(cases(Path(made)), Path(made), options)
    table.show(f"{options.what}, seed {options.seed}")
    raise SystemExit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
