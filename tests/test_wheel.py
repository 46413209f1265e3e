"""What `pip install` lays down: all that the program needs, and nothing that is in another project's way."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import rewrite

ROOT = Path(rewrite.__file__).parent.parent
HOUSE = ("rewrite", "dissect", "apps")
MADE = {".pyc"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with what the wheel holds, as an installation unpacks it."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builder.build(directory=str(folder), versions=["standard"])
    with ZipFile(path) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, *arguments: str, beside: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the installation and another folder on its path, but without the checkout."""
    path = os.pathsep.join([str(installed), str(beside)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], cwd=beside, env=environment, capture_output=True, text=True)


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """Another project, with an `apps` of its own."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "__init__.py").write_text("WHOSE = 'theirs'\n", encoding="utf-8")
    return tmp_path


def test_a_wheel_takes_no_name_but_its_own(installed):
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"rewrite", "dissect", "model_rewriting.py", "model_rewriting_program"}
    assert [path.name for path in (installed / "model_rewriting_program").iterdir()] == ["apps"]


def test_every_file_of_the_packages_is_in_the_wheel(installed):
    for house in HOUSE:
        there = installed / "model_rewriting_program" / house if house == "apps" else installed / house
        files = [path for path in (ROOT / house).rglob("*") if path.is_file() and path.suffix not in MADE]
        assert len(files) > 10
        assert [path for path in files if not (there / path.relative_to(ROOT / house)).is_file()] == []


def test_the_program_of_a_wheel_runs_beside_the_apps_of_another_project(installed, elsewhere):
    code = "import sys, model_rewriting; sys.argv = ['rewrite', '--help']; model_rewriting.main()"
    done = run(installed, "-c", code, beside=elsewhere)
    assert done.stdout.startswith("usage: rewrite"), done.stderr
    code = (
        "import sys, model_rewriting; sys.argv = ['rewrite', 'models']; model_rewriting.main(); "
        "import apps.cli, rewrite; print(apps.cli.__file__, rewrite.__file__, sep='\\n')"
    )
    done = run(installed, "-c", code, beside=elsewhere)
    assert "towers: built in" in done.stdout, done.stderr
    program, library = map(Path, done.stdout.splitlines()[-2:])
    assert program == installed / "model_rewriting_program" / "apps" / "cli.py"
    assert library == installed / "rewrite" / "__init__.py"


def test_who_only_imports_the_library_finds_the_own_apps(installed, elsewhere):
    done = run(installed, "-c", "import model_rewriting, apps; print(apps.WHOSE)", beside=elsewhere)
    assert done.stdout == "theirs\n", done.stderr
