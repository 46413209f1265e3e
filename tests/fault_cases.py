"""Commands on tiny models that write files, and what must be true of the files of one that ended, whatever ended it.

Commands run in forks of this process, which has imported everything: a kill falls into their work, and not into the
imports before it.
"""

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from apps import cli
from rewrite import load_classifier, load_generator, measure, solve
from rewrite.checkpoints import native
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.storage.whole import MARK
from tests.networks import CONFIG, marked_rule, patch_of, random_stylegan2

LAYER = "b16.conv1"
# Files that grow while a run goes on; each is whole, and of any of its moments.
GROWING = (
    *("units", "effects", "seen", "steps", "tested", "reference", "training", "generated", "rotation"),
    *("unfinished", "agreement"),
)
STATES = [f"{name}.safetensors" for name in GROWING]
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

    def start(self, out: Path, prepare: Callable[[], object] | None = None) -> "Run":
        """Run it in a fork, which writes to a place and keeps its cache beside it.

        Args:
            out: The place.
            prepare: Is called in the fork before.
        """
        arguments = [str(each).replace(OUT, str(out)) for each in self.arguments]

        def run() -> int:
            os.environ["REWRITE_CACHE"] = str(out.parent / "cache")
            os.environ["TMPDIR"] = str(out.parent)
            tempfile.tempdir = None
            if prepare is not None:
                prepare()
            return cli.main(arguments)

        return forked(run)


@dataclass
class Run:
    """A command that runs."""

    child: int
    said: Path

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its status and what it said."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        text = self.said.read_text(encoding="utf-8", errors="replace")
        self.said.unlink()
        return status, text


def forked(act: Callable[[], int]) -> Run:
    """Run a function in a fork; its value is the status."""
    opened, name = tempfile.mkstemp()
    child = os.fork()
    if child:
        os.close(opened)
        return Run(child, Path(name))
    status = 1
    try:
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        status = act()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def cases(folder: Path) -> dict[str, Case]:
    """The commands, on tiny models that are made in a folder."""
    given = {**generator_commands(folder), **dissection_commands(folder), **classifier_commands(folder)}
    return {name: Case(name, arguments) for name, arguments in given.items()}


def generator_commands(folder: Path) -> dict[str, Arguments]:
    """The commands that edit and draw, with a model, a memory, a rule and a patch of it."""
    path = folder / "model.safetensors"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    generator, rule = load_generator(path), marked_rule(path)
    memory = measure(generator, LAYER, 20)
    rule.save(folder / "rule.json")
    patch = folder / "patch.safetensors"
    solve(generator, memory, rule, rank=2).save(patch)
    of = ["--model", path]
    return {
        "measure": ["measure", path, "--layer", LAYER, "--samples", "24", "--out", OUT],
        "solve": ["solve", folder / "rule.json", *of, "--samples", "24", "--out", OUT],
        "report": ["report", patch, *of, "--seeds", "5-9", "--out", OUT],
        "export": ["export", path, patch, "--force", "--out", f"{OUT}/edited.safetensors", "--card", f"{OUT}/card.md"],
        "ablate": ["ablate", path, "--layer", LAYER, "--units", "1,2", "--seeds", "0-3", "--out", OUT],
        "sample": ["sample", path, "--patch", patch, "--seeds", "0-5", "--each", OUT],
    }


def dissection_commands(folder: Path) -> dict[str, Arguments]:
    """The commands that measure units and what is drawn, of the same model."""
    path = folder / "model.safetensors"
    layer, few = ["--layer", LAYER], ["--samples", "24", "--level-samples", "8"]
    quick = ["--samples", "4", "--training", "4", "--steps", "0", "--positions", "0"]
    chosen = ["--choose", "4", "--test", "4", "--good", "8", "--units", "1"]
    return {
        "units": ["units", path, *layer, *few, "--out", OUT],
        "rotation": ["rotation", path, *layer, *few, "--out", OUT],
        "effects": ["effects", path, *layer, "--concepts", "sky", *quick, "--out", OUT],
        "artifacts": ["artifacts", path, *layer, "--samples", "20", *chosen, "--out", OUT],
        "omissions": ["omissions", path, "--samples", "8", "--out", OUT],
    }


def classifier_commands(folder: Path) -> dict[str, Arguments]:
    """The commands for classifiers, with one and with pictures of two classes."""
    path, pictures = folder / "classifier.safetensors", folder / "pictures"
    save_small(path, initialised(SmallDesign(("a", "b"), (4, 6), size=(16, 16)), 0), {})
    drawn = np.random.default_rng(0)
    for name in ("a", "b"):
        (pictures / name).mkdir(parents=True)
        for number in range(4):
            noise = drawn.integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(pictures / name / f"{number}.png")
    few, patch = ["--pictures", pictures, "--training", "2", "--test", "2"], folder / "classifier-patch.safetensors"
    patch_of(load_classifier(path), "conv2", ruled=False).save(patch)
    pairs = ["--keys", pictures / "a", "--values", pictures / "b"]
    return {
        "roles": ["roles", path, "--layer", "relu2", *few, "--few", "1", "--more", "2", "--out", OUT],
        "pairs": ["pairs", path, "--layer", "conv2", *few, *pairs, "--out", OUT],
        "report on a classifier": ["report", patch, "--model", path, *few[:2], "--out", OUT],
    }


def held(out: Path) -> dict[str, bytes]:
    """The files of a place, without those that grow and those that are temporary."""
    paths = [out] if out.is_file() else out.iterdir() if out.is_dir() else []
    return {
        path.name: path.read_bytes() for path in paths if path.name not in STATES and not path.name.startswith(MARK)
    }


def temporary(place: Path) -> list[Path]:
    """Temporary files and folders anywhere in a place."""
    return [path for name in (f"{MARK}*", "rewrite-*", "tmp*") for path in place.rglob(name)]


def wrong_after(case: Case, out: Path, before: Mapping[str, bytes]) -> str | None:
    """What is wrong with what an ended command left; None if nothing is."""
    found = held(out)
    status, said = case.start(out).end()
    whole = held(out)
    if status != 0 or "Traceback" in said:
        return f"the next run ended with {status}: {said[-200:]}"
    if found != dict(before) and found != whole:
        return f"of its files, {sorted(name for name in found if found[name] != before.get(name))} are new, and not all"
    left = temporary(out.parent)
    return f"temporary files are left: {[str(path.relative_to(out.parent)) for path in left]}" if left else None
