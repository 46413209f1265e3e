"""The fuzzer: every kind of file that is opened, and every value that the page sends, with something wrong in it.

    python -m tests.fuzzing --inputs 10000 --seed 1

Each input has two seconds of the processor and 500 MB, and an audit hook fails on whatever is run, imported, written or
connected. An input that fails is kept in `tests/corpus`, whose inputs are tried first, and which the tests try, too.
"""

import argparse
import codecs
import random
import resource
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.fuzzed_kinds import INPUT, Act, Kind, kinds
from tests.guards import outcome, watched
from tests.mutations import mutated
from tests.peak import Peak

CORPUS = Path(__file__).parent / "corpus"
SECONDS, MOST_MEMORY = 2, 500 * 2**20
# What the whole process may take beyond what it has: an input must not take the machine along.
HEADROOM = 4 * 2**30
LARGEST_KEPT = 2**16


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
    """Try what failed once, and then inputs of every kind in turn; count by kind those tried and those failed."""
    chance, peak, tried, failed = random.Random(seed), Peak(), Counter(), Counter()
    with tempfile.TemporaryDirectory() as place:
        known = {name: kind for name, kind in kinds(Path(place)).items() if only in (None, name)}
        path = Path(place) / INPUT
        warm(known, path)

        def count(name: str) -> str | None:
            tried[name] += 1
            wrong = next((found for act in known[name].acts if (found := failure(act, path, peak))), None)
            failed[name] += wrong is not None
            return wrong

        for kept in sorted(CORPUS.glob("*.*")):
            if (name := kind_of(kept)) in known:
                path.write_bytes(kept.read_bytes())
                if wrong := count(name):
                    print(f"{kept.name}: {wrong}", flush=True)
        for number in range(inputs):
            name = list(known)[number % len(known)]
            path.write_bytes(mutated(chance, chance.choice(known[name].seeds)))
            if wrong := count(name):
                keep(name, seed, number, path, wrong)
    return tried, +failed


def warm(known: dict[str, Kind], path: Path) -> None:
    """Open a good and a bad file of every kind: what Python imports late for them is imported then."""
    for codec in ("cp437", "latin-1", "utf-16", "utf-32", "idna"):  # of names in archives and texts in pickles
        codecs.lookup(codec)
    for kind in known.values():
        for content in (*kind.seeds, b"", b"\xff" * 100):
            path.write_bytes(content)
            for act in kind.acts:
                with suppress(ValueError, LookupError, OSError):
                    act(path)


def limit() -> None:
    """Let this process take no more than some memory beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM, hard))


def kind_of(kept: Path) -> str:
    """The kind of an input of the corpus."""
    return kept.name.partition(".")[0].replace("-", " ")


def keep(name: str, seed: int, number: int, path: Path, wrong: str) -> None:
    """Let the corpus grow by an input."""
    kept = CORPUS / f"{name.replace(' ', '-')}.{seed}-{number}"
    print(f"{kept.name}: {wrong}", flush=True)
    if path.stat().st_size <= LARGEST_KEPT:
        CORPUS.mkdir(exist_ok=True)
        shutil.copyfile(path, kept)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind")
    options = parser.parse_args()
    limit()
    tried, failed = fuzz(options.inputs, options.seed, options.only)
    print(f"seed {options.seed}\n{'kind':24}{'tried':>8}{'survived':>10}{'failed':>8}")
    for name in (*tried, "all"):
        count, lost = (sum(tried.values()), sum(failed.values())) if name == "all" else (tried[name], failed[name])
        print(f"{name:24}{count:8}{count - lost:10}{lost:8}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
