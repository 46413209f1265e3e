"""How many mutants of the numerical core its tests kill.

    python -m benchmarks.mutants [MODULE…] [--sample 60] [--seed 0]      # or: make mutants

cosmic-ray changes one operator, number, keyword, decorator or loop of a module at a time. A mutant is killed if a test
of the module fails, or if the tests take several times the processor time that they take without it. The tree is copied
first, and mutants are made in the copy. Every mutant runs in a fork of one process that has imported torch already, and
has its own modules.

Five kinds are left out, and counted: what is no Python any more, guards against mistakes in the code itself (SKIPPED),
the mark after which parameters have names, which is taken for a product (NAMED), another seed of random draws (SEEDS),
and a tuned number's neighbours (TUNED). What survives is printed.
"""

import argparse
import ast
import importlib
import math
import multiprocessing
import operator
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

TESTS = {
    "rewrite/solvers/algebra.py": ("algebra", "closed_form"),
    "rewrite/solvers/choice.py": ("choice", "leave_out", "finish"),
    "rewrite/solvers/closed_form.py": ("closed_form", "solvers", "protection"),
    "rewrite/solvers/directions.py": ("directions", "closed_form", "solvers"),
    "rewrite/solvers/drawn.py": ("choice", "leave_out", "finish"),
    "rewrite/solvers/finish.py": ("finish",),
    "rewrite/solvers/kernel.py": ("systems",),
    "rewrite/solvers/leave_out.py": ("leave_out", "systems"),
    "rewrite/solvers/mapped.py": ("closed_form", "systems"),
    "rewrite/solvers/preconditioner.py": ("finish",),
    "rewrite/solvers/problem.py": ("closed_form", "systems", "solvers", "protection", "finish"),
    "rewrite/solvers/quieting.py": ("quieting", "finish"),
    "rewrite/solvers/solving.py": ("solvers", "protection", "leave_out", "quieting", "finish"),
    "rewrite/solvers/spectrum.py": ("systems",),
    "rewrite/solvers/systems.py": ("systems", "closed_form"),
    "rewrite/solvers/trial.py": ("closed_form", "systems", "solvers", "protection"),
    "rewrite/memory/accuracy.py": ("accuracy",),
    "rewrite/memory/measurement.py": ("memory", "accuracy", "measure_command"),
    "rewrite/memory/memory.py": ("memory", "accuracy"),
    "rewrite/memory/sums.py": ("memory", "accuracy"),
    "rewrite/patch.py": ("patch", "ablation"),
    "rewrite/generators/layers.py": ("layers", "memory"),
    "dissect/units/tally.py": ("tally", "scores"),
    "dissect/units/scores.py": ("scores",),
}
# One or two replacements for each: more of them are killed by the first test that gets a value of another type.
REPLACED = {
    "BinaryOperator": "Add_Sub Sub_Add Mul_Div Div_Mul Pow_Mul FloorDiv_Mul Mod_FloorDiv BitAnd_BitOr",
    "ComparisonOperator": "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is",
    "UnaryOperator": "Delete_USub Delete_Not Delete_Invert",
}
OTHERS = "AddNot NumberReplacer RemoveDecorator ZeroIterationForLoop ExceptionReplacer"
# Guards against mistakes of whoever writes the code, not of whoever uses it.
SKIPPED = ("strict=", "frozen=")
# `*,` in a signature is no product: with `/,` in its place, only what callers may call by name is another.
NAMED = "/,"
# A result may depend on which numbers are drawn by so much as sampling leaves open: any seed is as right as another.
SEEDS = ("manual_seed(", "default_rng(")
# Numbers that were found by trying, or that trade time or memory for accuracy. Up to twice or half as much is another
# choice and no fault, and a test that refused it would only repeat the module; a larger change is a mutant like others.
TUNED = {
    "rewrite/solvers/choice.py": (
        "DAMAGE DRIFTS OTHERS QUIET_PER_OTHERS MARGIN TRIED_STEPS MOST_LARGE_STEPS CAREFUL MOST_DRAWN"
    ),
    "rewrite/solvers/closed_form.py": "MOST_RESTORING_STEPS STEP_SIZES",
    "rewrite/solvers/drawn.py": "MOST_OF_A_FOLD MOST_LARGE LARGE",
    "rewrite/solvers/finish.py": "BATCH",
    "rewrite/solvers/leave_out.py": "MOST_FOLDS THINNED",
    "rewrite/solvers/problem.py": "HEAVY LEAST_WIDTH MOST_KEYS",
    "rewrite/solvers/quieting.py": "FIRST_STEPS",
    "rewrite/solvers/spectrum.py": "DIRECTIONS SPARE ROUNDS",
    "rewrite/memory/accuracy.py": "MOST_STEPS POOL",
    "rewrite/memory/memory.py": "MOST_RANGES ROWS",
    "rewrite/memory/sums.py": "KEYS_PER_DIMENSION BLOCK",
    "dissect/units/tally.py": "DRAWS AT_ONCE",
}
KEYWORDS = "AndWithOr OrWithAnd TrueWithFalse FalseWithTrue BreakWithContinue ContinueWithBreak"
IMPORTED_ONCE = (
    "torch",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.ndimage",
    "hypothesis",
    "pytest",
    "safetensors.torch",
)
MADE_BY = {ast.Mult: operator.mul, ast.Pow: operator.pow}
COPIED = ("rewrite", "dissect", "apps", "benchmarks", "tests", "pyproject.toml", "README.md", "Makefile")
PATIENCE = 4.0
# Of a test that waits for ever, and so takes no processor time.
MOST_SECONDS = 3600.0


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        line: Number of the changed line.
        code: The whole module.
        change: The changed lines, before and after.
    """

    line: int
    code: str
    change: str


def operators() -> list[str]:
    """The names of cosmic-ray's operators that are used."""
    pairs = [f"Replace{kind}_{pair}" for kind, pairs in REPLACED.items() for pair in pairs.split()]
    return [f"core/{name}" for name in (*pairs, *OTHERS.split(), *(f"Replace{pair}" for pair in KEYWORDS.split()))]


def numbers_of(source: str) -> dict[str, tuple[float, ...]]:
    """The numbers that the constants of a module are set to, by their names."""
    found: dict[str, tuple[float, ...]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
            found |= {ast.unparse(name): tuple(_numbers(value)) for name, value in pairs}
    return found


def _numbers(value: ast.expr) -> Iterator[float]:
    """The numbers that a constant is made of; nothing where it is not of plain numbers, their products and powers."""
    if isinstance(value, ast.BinOp) and type(value.op) in MADE_BY:
        left, right = (tuple(_numbers(side)) for side in (value.left, value.right))
        yield from (MADE_BY[type(value.op)](one, other) for one, other in zip(left, right, strict=False))
        return
    try:
        given = ast.literal_eval(value)
    except ValueError:
        return
    yield from (each for each in (given if isinstance(given, tuple) else (given,)) if isinstance(each, int | float))


def is_neighbour(source: str, code: str, tuned: Container[str]) -> bool:
    """Whether a mutant has another value of a tuned number, between half and twice the one of the module."""
    before, after = numbers_of(source), numbers_of(code)
    pairs = [
        (name, old, new)
        for name, numbers in before.items()
        for old, new in zip(numbers, after.get(name, ()), strict=False)
        if old != new
    ]
    return len(pairs) == 1 and all(name in tuned and old <= 2 * new <= 4 * old for name, old, new in pairs)


def left_out(source: str, code: str, change: str, tuned: Container[str]) -> bool:
    """Whether a mutant is of a kind that says nothing of the tests."""
    try:
        ast.parse(code)
    except SyntaxError:
        return True
    guarded = any(source.count(guard + "True") != code.count(guard + "True") for guard in SKIPPED)
    guarded = guarded or source.count(NAMED) != code.count(NAMED)
    return guarded or any(seed in change for seed in SEEDS) or is_neighbour(source, code, tuned)


def mutants_of(source: str, tuned: Container[str] = ()) -> Iterator[Mutant | None]:
    """Every change of a module; None for one that is left out."""
    import parso.python.tree  # noqa: F401, cosmic-ray finds its operators only if parso is there before
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    for name in operators():
        change_by, occurrence = get_operator(name)(), 0
        while (code := mutate_code(source, change_by, occurrence)) is not None:
            occurrence += 1
            pairs = zip(source.splitlines(), code.splitlines(), strict=False)
            line = next((number for number, (old, new) in enumerate(pairs, 1) if old != new), 0)
            diff = list(unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm=""))[3:]
            change = " | ".join(part[0] + part[1:].strip() for part in diff)
            yield None if left_out(source, code, change, tuned) else Mutant(line, code, change)


def import_once() -> None:
    """Import what every fork needs and no mutant changes."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    nothing = importlib.import_module("torch").zeros(1)
    importlib.import_module("torch.testing").assert_close(nothing, nothing)  # it imports half of torch at its first use


def run_tests(folder: Path, tests: tuple[str, ...], limit: float) -> None:
    """Run tests in this process, which ends with pytest's status, or by a signal at the limit."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit)))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    import pytest

    chosen = [f"tests/test_{name}.py" for name in tests]
    # Without checks of shapes and other plugins, a fork starts in a third of the time, and no mutant dies by its
    # annotations alone. What the parent has imported is not rewritten, so that asserts stay plain.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-x", "-o", "addopts=-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    options += ["-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0"]
    os._exit(int(pytest.main([*options, *chosen])))


def survives(folder: Path, tests: tuple[str, ...], limit: float = MOST_SECONDS) -> bool:
    """Whether all tests pass within a number of seconds of processor time: a busy machine kills no mutant."""
    child = multiprocessing.get_context("fork").Process(target=run_tests, args=(folder, tests, limit))
    child.start()
    child.join(MOST_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode == 0


def processor_time() -> float:
    """Seconds that processes which have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def score(folder: Path, module: str, tests: tuple[str, ...], sample: int, seed: int) -> tuple[int, int]:
    """How many mutants of a module are killed, of how many; survivors are printed."""
    path = folder / module
    source = path.read_text(encoding="utf-8")
    began = processor_time()
    if not survives(folder, tests):
        raise RuntimeError(f"the tests of {module} fail as it is")
    limit = 20 + PATIENCE * (processor_time() - began)
    every = list(mutants_of(source, TUNED.get(module, "").split()))
    found = [mutant for mutant in every if mutant]
    chosen = sorted(random.Random(seed).sample(found, min(sample, len(found))), key=lambda mutant: mutant.line)
    killed = 0
    for mutant in chosen:
        path.write_text(mutant.code, encoding="utf-8")
        # Two versions within a second may have one size: what was compiled before must not stand for this one.
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()
        if survives(folder, tests, limit):
            print(f"  survived {module}:{mutant.line}: {mutant.change}", flush=True)
        else:
            killed += 1
    path.write_text(source, encoding="utf-8")
    share = 100 * killed / len(chosen)
    counts = f"{len(found)} mutants, {len(every) - len(found)} left out"
    print(f"{module}: {killed} of {len(chosen)} killed, {share:.0f} % ({counts})", flush=True)
    return killed, len(chosen)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "modules", nargs="*", default=list(TESTS), metavar="MODULE", help="all that are listed, if none"
    )
    parser.add_argument("--sample", type=int, default=10**6, help="most mutants of each module")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import_once()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        for part in map(Path, COPIED):
            if part.is_dir():
                shutil.copytree(part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(part, folder)
        scores = [score(folder, module, TESTS[module], options.sample, options.seed) for module in options.modules]
    killed, total = (sum(counts) for counts in zip(*scores, strict=True))
    print(f"all: {killed} of {total} killed, {100 * killed / total:.1f} %")


if __name__ == "__main__":
    main()
