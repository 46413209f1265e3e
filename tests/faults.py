"""Kills and faults of the disk: what a command leaves, whatever ends it.

    python -m tests.faults kills --moments 200 --seed 1
    python -m tests.faults disk --seed 1

A command has survived when its files are all the old ones or all the new ones, and when the same command, run again,
ends well and leaves no temporary file. Commands run in forks of this process, which has imported everything: a kill
falls into their work, and not into the imports before it.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from apps import cli
from rewrite import load_generator, measure, solve
from rewrite.checkpoints import native
from rewrite.storage.whole import MARK
from tests.conftest import CONFIG, marked_rule, random_stylegan2

LAYER = "b16.conv1"
# Files that grow while a run goes on; each is whole, and of any of its moments.
STATES = [f"{name}.safetensors" for name in ("units", "effects", "seen", "steps", "tested", "reference")]
OUT = "{out}"
Arguments = list[str | Path]


@dataclass(frozen=True)
class Case:
    """One command, in a folder of its own.

    Attributes:
        name: The command.
        arguments: What it is run with; `OUT` stands for where it writes.
    """

    name: str
    arguments: Arguments

    def start(self, out: Path, limit: int | None = None) -> "Run":
        """Run it in a fork, which writes to a place; no file there grows beyond a limit."""
        arguments = [str(each).replace(OUT, str(out)) for each in self.arguments]
        said = Path(tempfile.mkstemp()[1])
        child = os.fork()
        if child:
            return Run(child, said)
        status = 1
        try:
            with said.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            status = cli.main(arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


@dataclass
class Run:
    """A command that runs."""

    child: int
    said: Path

    def end(self, *, kill: bool = False) -> tuple[int, str]:
        """Wait for its end; returns its status and what it said."""
        if kill:
            os.kill(self.child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        text = self.said.read_text(encoding="utf-8", errors="replace")
        self.said.unlink()
        return status, text


def cases(folder: Path) -> dict[str, Case]:
    """The commands, on a tiny model that is made in a folder."""
    path = folder / "model.safetensors"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    generator, rule = load_generator(path), marked_rule(path)
    memory = measure(generator, LAYER, 20)
    memory.save(folder / "memory.safetensors")
    rule.save(folder / "rule.json")
    solve(generator, memory, rule, rank=2).save(folder / "patch.safetensors")
    patch, of = folder / "patch.safetensors", ["--model", path]
    layer, few = ["--layer", LAYER], ["--samples", "24"]
    given: dict[str, Arguments] = {
        "measure": ["measure", path, *layer, *few, "--out", OUT],
        "solve": ["solve", folder / "rule.json", *of, "--memory", folder / "memory.safetensors", "--out", OUT],
        "report": ["report", patch, *of, "--seeds", "5-9", "--out", OUT],
        "export": ["export", path, patch, "--force", "--out", f"{OUT}/edited.safetensors", "--card", f"{OUT}/card.md"],
        "units": ["units", path, *layer, *few, "--level-samples", "8", "--out", OUT],
        "effects": [
            *("effects", path, *layer, "--concepts", "sky", "--samples", "4", "--training", "4", "--steps", "0"),
            *("--positions", "0", "--out", OUT),
        ],
        "artifacts": [
            *(
                "artifacts",
                path,
                *layer,
                "--samples",
                "20",
                "--choose",
                "4",
                "--test",
                "4",
                "--good",
                "8",
                "--units",
                "1",
            ),
            *("--out", OUT),
        ],
    }
    return {name: Case(name, arguments) for name, arguments in given.items()}


def held(out: Path) -> dict[str, bytes]:
    """The files of a place, without those that grow and those that are temporary."""
    paths = [out] if out.is_file() else out.iterdir() if out.is_dir() else []
    return {
        path.name: path.read_bytes() for path in paths if path.name not in STATES and not path.name.startswith(MARK)
    }


def temporary(out: Path) -> list[Path]:
    """Temporary files in a place and beside it."""
    return [path for folder in (out, out.parent) if folder.is_dir() for path in folder.glob(f"{MARK}*")]


def wrong_after(case: Case, out: Path, before: Mapping[str, bytes]) -> str | None:
    """What is wrong with what an ended command left; None if nothing is."""
    found = held(out)
    status, said = case.start(out).end()
    whole = held(out)
    if status != 0 or "Traceback" in said:
        return f"the next run ended with {status}: {said[-200:]}"
    if found != dict(before) and found != whole:
        return f"of its files, {sorted(name for name in found if found[name] != before.get(name))} are new, and not all"
    return f"{len(temporary(out))} temporary files are left" if temporary(out) else None


def kill(case: Case, place: Path, chance: random.Random, seconds: float) -> str | None:
    """Kill a command at a random moment; what is wrong afterwards."""
    out, before = place / "out", {}
    if chance.random() < 0.5:
        case.start(out).end()
        before = held(out)
    running = case.start(out)
    time.sleep(chance.uniform(0, 1) * seconds)
    running.end(kill=True)
    return wrong_after(case, out, before)


def full(case: Case, place: Path) -> str | None:
    """A disk that takes a kilobyte of each file."""
    out = place / "out"
    case.start(out).end()
    before = held(out)
    status, said = case.start(out, 1000).end()
    if status == 0 and held(out) == before:
        return None  # everything was there
    return f"it ended with {status}: {said[-200:]}" if status != 2 else wrong_after(case, out, before)


def read_only(case: Case, place: Path) -> str | None:
    """A place in which nothing can be made: below what is a file. A folder's own mode does not stop root."""
    (place / "file").write_text("in the way")
    status, said = case.start(place / "file" / "out").end()
    refused = status == 2 and "Traceback" not in said and (place / "file").read_text() == "in the way"
    return None if refused else f"it ended with {status}: {said[-200:]}"


def two_writers(case: Case, place: Path) -> str | None:
    """Two runs at once into one place: one file or group of files is whole at the end, and each run ends in words."""
    out = place / "out"
    both = [case.start(out) for _ in range(2)]
    ended = [each.end() for each in both]
    if any("Traceback" in said for _, said in ended) or all(status != 0 for status, _ in ended):
        return f"they ended with {ended}"[:400]
    return wrong_after(case, out, held(out))


FAULTS: dict[str, Callable[[Case, Path], str | None]] = {
    "full": full,
    "read-only": read_only,
    "two writers": two_writers,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "disk"))
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        os.environ["REWRITE_CACHE"] = f"{made}/cache"
        torch.set_num_threads(1)
        known = cases(Path(made))
        tried, failed = (killed if options.what == "kills" else disturbed)(known, Path(made), options)
    print(f"seed {options.seed}\n{options.what:24}{'tried':>8}{'survived':>10}{'failed':>8}")
    for name in (*tried, "all"):
        count, lost = (sum(tried.values()), sum(failed.values())) if name == "all" else (tried[name], failed[name])
        print(f"{name:24}{count:8}{count - lost:10}{lost:8}")
    raise SystemExit(1 if failed else 0)


def killed(known: Mapping[str, Case], made: Path, options: argparse.Namespace) -> tuple[Counter, Counter]:
    """Kill the commands in turn, each at a random moment of the time that it takes."""
    chance, tried, failed, seconds = random.Random(options.seed), Counter(), Counter(), {}
    for number in range(options.moments):
        case = known[list(known)[number % len(known)]]
        place = made / "place"
        place.mkdir()
        if case.name not in seconds:
            begun = time.monotonic()
            case.start(place / "first").end()
            seconds[case.name] = time.monotonic() - begun
        wrong = kill(case, place, chance, seconds[case.name])
        count(case.name, wrong, tried, failed)
        shutil.rmtree(place)
    return tried, failed


def disturbed(known: Mapping[str, Case], made: Path, options: argparse.Namespace) -> tuple[Counter, Counter]:
    """Run every command on each faulty disk."""
    tried, failed = Counter(), Counter()
    for fault, act in FAULTS.items():
        for case in known.values():
            place = made / "place"
            place.mkdir()
            count(f"{case.name}, {fault}", act(case, place), tried, failed)
            shutil.rmtree(place)
    return tried, failed


def count(name: str, wrong: str | None, tried: Counter, failed: Counter) -> None:
    """Count one try, and tell what was wrong."""
    tried[name] += 1
    if wrong:
        failed[name] += 1
        print(f"{name}: {wrong}", flush=True)


if __name__ == "__main__":
    main()
