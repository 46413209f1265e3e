"""The fuzzer: every kind of file that is opened, and every value that the page sends, with something wrong in it.

    python -m tests.fuzzing --inputs 10000 --seed 1

Each input has two seconds of the processor and 500 MB, and an audit hook fails on whatever is run, imported, written or
connected. An input that fails is kept in `tests/corpus`, which the tests try from then on.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from apps.commands import inspect
from apps.editor.marks import read_marks
from apps.editor.requests import read_requests
from dissect import Painting, load_dissections
from dissect.ledger import read as read_ledger
from dissect.segmenter import PACKAGED, load_segmenter
from dissect.sources.names import read_names
from dissect.units.dissection import BUILT_IN as DISSECTIONS
from rewrite import Memory, Patch, Rule, from_peft, load_discriminator, load_generator, measure, solve, to_peft
from rewrite.checkpoints import native
from rewrite.checkpoints.containers import describe
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.conftest import (
    CONFIG,
    Peak,
    PlainGenerator,
    marked_rule,
    patch_of,
    random_discriminator,
    random_stylegan2,
    random_stylegan3,
)
from tests.foreign_files import proggan_state, write_rosinality
from tests.guards import outcome, watched
from tests.mutations import mutated
from tests.nvidia_files import discriminator, stylegan2, write_network, write_stylegan3

CORPUS = Path(__file__).parent / "corpus"
SECONDS, MOST_MEMORY = 2, 500 * 2**20
Act = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        seeds: Good files.
        acts: What opens them.
    """

    seeds: tuple[bytes, ...]
    acts: tuple[Act, ...]


def looked_at(path: Path) -> object:
    """What `rewrite inspect` does."""
    return inspect.run(argparse.Namespace(file=str(path)))


def page_value(read: Callable[[Any], object], path: Path) -> object:
    """A value of the page, as it comes from the socket."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError("the socket refuses what is no JSON") from None
    return read(document)


def kinds(folder: Path) -> dict[str, Kind]:
    """Good files of every kind, made in a folder."""
    path = folder / "seed"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    generator, rule = load_generator(path), marked_rule(path)
    scaled = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, conv_gain=True)), noise="const")
    made = [path.read_bytes(), write_rosinality(path, scaled).read_bytes()]
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    made.append(path.read_bytes())
    made.append(write_network(path, stylegan2(generator.network), D=discriminator(random_discriminator())).read_bytes())
    made.append(write_stylegan3(path, random_stylegan3()).read_bytes())
    torch.save(proggan_state(), path)
    made.append(path.read_bytes())
    memory = measure(generator, rule.layer, 10)
    patch = solve(generator, memory, rule, rank=2)

    def saved(save: Callable[[Path], object]) -> bytes:
        save(path)
        return path.read_bytes()

    marks = {"marks": [{"seed": 1, "role": "copy", "runs": [[34, 4], [50, 4]]}], "heat": False}
    asked = {"requests": [{"do": "strength", "turn": 1, "index": 0, "to": 0.5}, {"do": "undo", "turn": 2}]}
    stroke = {"action": "remove", "units": [1, 2], "strength": 1.0, "mask": {"size": [16, 16], "runs": [[0, 4]]}}
    about = {"schema": "rewrite-painting/1", "model": generator.fingerprint, "layer": rule.layer, "seed": 1}
    text = {name: json.dumps(each).encode() for name, each in {"marks": marks, "asked": asked}.items()}
    found = {
        "checkpoint": Kind(tuple(made), (load_generator, load_discriminator, describe, looked_at)),
        "memory": Kind((saved(memory.save),), (Memory.load, looked_at)),
        "patch": Kind((saved(patch.save),), (Patch.load, looked_at)),
        "rule": Kind((saved(rule.save),), (Rule.load, looked_at)),
        "painting": Kind((json.dumps({**about, "strokes": [stroke]}).encode(),), (Painting.load, looked_at)),
        "segmenter": Kind((PACKAGED.read_bytes(),), (load_segmenter, looked_at)),
        "dissection": Kind((DISSECTIONS["towers"].read_bytes(),), (load_dissections, looked_at)),
        "state of a run": Kind((DISSECTIONS["towers"].read_bytes(),), (partial(read_ledger, kind="dissection"),)),
        "names of labels": Kind((b"Idx\tName\n1\ttree\n2\tdome; spire\n", b"tree\ndome\n"), (read_names,)),
        "marks of the page": Kind((text["marks"],), (partial(page_value, lambda value: read_marks(value, 16)),)),
        "requests of the page": Kind(
            (text["asked"],),
            (
                partial(
                    page_value, lambda value: read_requests(value, 0, ("strength", "undo"), lambda do, entry: entry)
                ),
            ),
        ),
    }
    return {**found, "adapter": _adapter(folder)}


def _adapter(folder: Path) -> Kind:
    """The weights of an adapter, whose other file is good."""
    to_peft(wrapped := PlainGenerator(), patch_of(wrapped, next(iter(wrapped.layers))), folder / "adapter")
    weights = folder / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.symlink_to(folder / "input")
    return Kind((content,), (lambda path: from_peft(wrapped, path.parent / "adapter"),))


def failure(act: Act, path: Path, peak: Peak) -> str | None:
    """What is wrong with how an input was treated; None if nothing is."""
    peak.start()
    try:
        outcome(act, path, SECONDS)
    except BaseException as error:  # whatever comes is a find
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200] or watched}"
    return f"it took {peak.bytes()} bytes" if peak.bytes() > MOST_MEMORY else None


def fuzz(inputs: int, seed: int, only: str | None = None) -> tuple[Counter, Counter]:
    """Try inputs of every kind in turn; count those tried and those failed by kind, and keep the latter."""
    chance, peak, tried, failed = random.Random(seed), Peak(), Counter(), Counter()
    with tempfile.TemporaryDirectory() as place:
        known = {name: kind for name, kind in kinds(Path(place)).items() if only in (None, name)}
        path = Path(place) / "input"
        warm(known, path)
        for number in range(inputs):
            name = list(known)[number % len(known)]
            path.write_bytes(mutated(chance, chance.choice(known[name].seeds)))
            tried[name] += 1
            wrong = [found for act in known[name].acts if (found := failure(act, path, peak))]
            if wrong:
                failed[name] += 1
                keep(name, seed, number, path, wrong[0])
    return tried, failed


def warm(known: dict[str, Kind], path: Path) -> None:
    """Open a good and a bad file of every kind: what Python imports late for them is imported then."""
    for kind in known.values():
        for content in (*kind.seeds, b"", b"\xff" * 100):
            path.write_bytes(content)
            for act in kind.acts:
                with suppress(ValueError, LookupError, OSError):
                    act(path)


def keep(name: str, seed: int, number: int, path: Path, wrong: str) -> None:
    """Let the corpus grow by an input."""
    CORPUS.mkdir(exist_ok=True)
    kept = CORPUS / f"{name.replace(' ', '-')}.{seed}-{number}"
    shutil.copyfile(path, kept)
    print(f"{kept.name}: {wrong}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind")
    options = parser.parse_args()
    tried, failed = fuzz(options.inputs, options.seed, options.only)
    print(f"seed {options.seed}\n{'kind':24}{'tried':>8}{'survived':>10}{'failed':>8}")
    for name in (*tried, "all"):
        count, lost = (sum(tried.values()), sum(failed.values())) if name == "all" else (tried[name], failed[name])
        print(f"{name:24}{count:8}{count - lost:10}{lost:8}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
