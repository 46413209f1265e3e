"""What a client sees: versions, promised names, and the program under both of its names."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rewrite
from rewrite import __main__ as program

ROOT = Path(rewrite.__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = SETTINGS["project"]["version"]


def test_the_library_says_its_version():
    assert rewrite.__version__ == VERSION


def test_a_checkout_that_is_not_installed_says_its_version_too(tmp_path):
    # Without the folder of installed packages, nothing is installed.
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['__version__'])"
    command = [sys.executable, "-S", "-E", "-c", code, ROOT / "rewrite" / "version.py"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.strip() == VERSION


def test_the_program_says_its_version_without_torch():
    code = (
        "import sys\nfrom apps.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'numpy', 'rewrite'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"rewrite {VERSION}\n", "[]\n")


def test_the_module_runs_as_the_program_does(tmp_path):
    for arguments in (["--version"], ["inspect", "no such file"]):
        as_program, as_module = (
            subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True)
            for name in ("apps.cli", "rewrite")
        )
        assert (as_module.returncode, as_module.stdout, as_module.stderr) == (
            as_program.returncode,
            as_program.stdout,
            as_program.stderr,
        )
        assert as_module.stdout or as_module.returncode == 2


def test_the_module_of_a_library_that_is_not_installed_says_how_to_get_the_program(monkeypatch):
    monkeypatch.setattr(program, "DISTRIBUTION", "no-such-distribution")
    assert "pip install" in program.main()


def test_every_file_that_the_packages_hold_is_named_as_package_data():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["*"]
    packages = {path.parent for house in ("rewrite", "dissect", "apps") for path in (ROOT / house).rglob("__init__.py")}
    for path in (path for house in ("rewrite", "dissect", "apps") for path in (ROOT / house).rglob("*")):
        if path.is_dir() or path.suffix in (".py", ".pyc"):
            continue
        package = next(folder for folder in path.parents if folder in packages)
        assert any(path in package.glob(pattern) for pattern in patterns), path


@pytest.mark.parametrize("house", ["rewrite", "dissect"])
def test_clients_are_told_that_there_are_types(house):
    assert (ROOT / house / "py.typed").is_file()
