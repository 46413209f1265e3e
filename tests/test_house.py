"""The rules of the house: imports run one way, rooms have names, files stay short."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

import dissect
import rewrite
from rewrite.solvers.algebra import price

ROOT = Path(rewrite.__file__).parent.parent
HOUSE = ("rewrite", "dissect", "apps")
SOURCES = {house: sorted((ROOT / house).rglob("*.py")) for house in HOUSE}
# What is read by people; benchmarks are no part of the package.
READ = {**SOURCES, "benchmarks": sorted((ROOT / "benchmarks").rglob("*.py"))}
MAY_NOT_IMPORT = {"rewrite": {"dissect", "apps"}, "dissect": {"apps"}, "apps": set()}


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> set[str]:
    """The top packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add((node.module or "").partition(".")[0])
    return names


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("house", HOUSE)
def test_imports_run_from_apps_to_dissect_to_rewrite_and_never_back(house):
    assert SOURCES[house]
    forbidden = MAY_NOT_IMPORT[house] | {"tests", "benchmarks", "conftest"}
    assert [(named(path), name) for path in SOURCES[house] for name in sorted(imported(path) & forbidden)] == []


def files_imported(path: Path) -> set[Path]:
    """The files of the house that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {ROOT / (name.replace(".", "/") + ".py") for name in names}
    return {file for file in found if file.exists()}


def test_no_files_import_each_other_in_a_circle():
    # Raises CycleError, which lists the circle.
    paths = [path for house in HOUSE for path in SOURCES[house]]
    assert len(list(TopologicalSorter({path: files_imported(path) for path in paths}).static_order())) == len(paths)


def defined(path: Path) -> set[str]:
    """What others may import from a file: names that are given or imported at any depth of it, and files beside it."""
    names = {file.stem for file in path.parent.iterdir()} if path.name == "__init__.py" else set()
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # what is imported late stands in a table of names
    return names


@pytest.mark.parametrize("house", READ)
def test_what_a_file_imports_from_another_stands_there(house):
    missing = []
    for path in READ[house]:
        for node in nodes(path):
            base = ROOT / (node.module or "").replace(".", "/") if isinstance(node, ast.ImportFrom) else None
            source = base and next(
                (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()), None
            )
            if source:
                missing += [(named(path), alias.name) for alias in node.names if alias.name not in defined(source)]
    assert missing == []


def test_no_room_is_named_for_leftovers():
    leftovers = {"utils", "util", "common", "misc", "helpers", "helper"}
    paths = [path for house in HOUSE for path in (ROOT / house).rglob("*")]
    assert [named(path) for path in paths if path.stem in leftovers] == []


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a file, methods and inner ones too."""
    return [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many things a caller of a function may have to give."""
    given = function.args
    names = [
        entry.arg for entry in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if entry
    ]
    return len([name for name in names if name not in ("self", "cls")])


@pytest.mark.parametrize("house", [*READ, "tests"])
def test_no_file_is_over_350_lines(house):
    paths = READ.get(house) or sorted((ROOT / house).rglob("*.py"))
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


@pytest.mark.parametrize("house", READ)
def test_no_function_is_over_60_lines(house):
    found = [(named(path), function) for path in READ[house] for function in functions(path)]
    lengths = {(name, function.name): function.end_lineno - function.lineno + 1 for name, function in found}
    assert {place: length for place, length in lengths.items() if length > 60} == {}


@pytest.mark.parametrize("house", READ)
def test_no_function_takes_more_than_8_parameters(house):
    found = [(named(path), function) for path in READ[house] for function in functions(path)]
    counts = {(name, function.name, function.lineno): parameters(function) for name, function in found}
    assert {place: count for place, count in counts.items() if count > 8} == {}


def test_wrong_types_and_wrong_shapes_are_refused_while_the_tests_run():
    with pytest.raises(BeartypeCallHintParamViolation, match="path"):
        rewrite.load_generator(7)
    with pytest.raises(TypeCheckError, match="outputs key"):
        price(torch.zeros(2, 3), torch.eye(4))


def test_importing_rewrite_or_the_state_of_a_session_does_not_import_what_only_others_need():
    heavy = {"gradio", "jinja2", "lpips", "transformers", "torchvision", "matplotlib", "dissect", "apps"}
    command = (
        f"import rewrite, sys; print(sorted({heavy} & set(sys.modules)))\n"
        "import apps.editor.session; print('gradio' in sys.modules)\n"
        "import apps.editor.page; print('scipy.stats' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[]", "False", "False"]


@pytest.mark.parametrize("house", [rewrite, dissect], ids=lambda house: house.__name__)
def test_the_public_names_exist_and_are_in_order(house):
    assert list(house.__all__) == sorted(set(house.__all__))
    for name in house.__all__:
        assert hasattr(house, name), name


@pytest.mark.parametrize("house", [rewrite, dissect], ids=lambda house: house.__name__)
def test_no_public_name_hides_a_module(house):
    folder = ROOT / house.__name__
    modules = {path.stem for path in folder.glob("*.py")}
    modules |= {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    assert sorted(modules & set(house.__all__)) == []
