"""What a client sees: versions, promised names, and the program under both of its names."""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import apps
import dissect
import rewrite
import rewrite.rules
from apps.cli import main
from dissect import Brush, CallableSource, Concepts, GeneratorProbe, Intervention, Painting, Prefix, Stroke
from rewrite import (
    Goals,
    Latent,
    Mask,
    ProposedLayer,
    Region,
    Rule,
    Search,
    Stack,
    measure,
    propose_contexts,
    report_on,
    solve,
)
from rewrite import __main__ as program
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests.networks import random_stylegan2

ROOT = Path(rewrite.__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = SETTINGS["project"]["version"]
LEFT_OUT = {"arrives": 0.5, "beside": 0.1, "each": [], "drawn": None}
PROMISED = {
    "rewrite": """
        Aim Classifier ClassifierRule ConceptSource Concepts Counts Effect Generator Goals Interval Latent Latents
        Mask Memory Patch PictureReport Preparation Processes Proposal ProposedLayer Region Report Rule Search
        Settings Stack WrappedGenerator __version__ export firing from_peft load_classifier load_discriminator
        load_generator load_perceptual load_report measure measure_effect measure_pictures model_card
        propose_contexts propose_layers read_latents report_on report_pictures share_among show solve solve_pictures
        strongest to_peft to_pil wrap
    """,
    "dissect": """
        Annotations Answer Broden Brush CallableFeatures CallableSource ClassFolder ConceptSource Concepts Dissection
        Effort Examination FeatureSpace GeneratorProbe HuggingFaceSource Intervention LabelledPictures Lit NetworkSource
        Painting Photograph PictureProbe Prefix Probe Question SceneClasses Scores SegmenterFeatures SegmenterSource
        Stroke Subset ablation_patch dissect examine find_photograph load_dissections painted prefix_of read_picture
        save_dissections write_units
    """,
}


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


def test_the_module_runs_as_the_program_does(capsys):
    arguments = ["inspect", "no such file"]
    done = subprocess.run([sys.executable, "-m", "rewrite", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == main(arguments) == 2
    assert (done.stdout, done.stderr) == tuple(capsys.readouterr())


def test_the_module_of_a_library_that_is_not_installed_says_how_to_get_the_program(monkeypatch):
    monkeypatch.setattr(program, "DISTRIBUTION", "no-such-distribution")
    assert "pip install" in program.main()


@pytest.mark.parametrize("house", ["rewrite", "dissect"])
def test_clients_are_told_that_there_are_types(house):
    assert (ROOT / house / "py.typed").is_file()


def test_the_promised_names_are_these():
    assert rewrite.__all__ == PROMISED["rewrite"].split()
    assert dissect.__all__ == PROMISED["dissect"].split()
    assert apps.__all__ == []
    assert rewrite.rules.__all__ == ["BUILT_IN", "rule_path"]


@pytest.mark.parametrize("house", [rewrite, dissect, apps], ids=lambda house: house.__name__)
def test_a_package_says_that_the_rest_of_it_is_internal(house):
    assert "internal" in house.__doc__


@pytest.fixture(scope="module")
def values() -> dict[str, object]:
    """One of each value that notebooks show, with names that are not plain text."""
    generator = StyleGAN2Generator(random_stylegan2())
    regions = tuple(Region(Latent(seed, (0.5,) * 8), Mask((16, 16), ((36, 4),))) for seed in (1, 2))
    rule = Rule("<b>rule</b>", generator.fingerprint, "b8.conv1", copy=regions[:1], context=regions)
    memory, goals = measure(generator, rule.layer, 20), Goals()
    patch = solve(generator, memory, rule, goals=goals)
    painting = Painting(generator.fingerprint, rule.layer, 3).add(Stroke(regions[0].mask, "tree"))
    source = CallableSource(lambda images, numbers: (images[:, 0] > 0).int(), Concepts.of(("<i>dark</i>", "light")))
    probe = GeneratorProbe(generator, [rule.layer], source)
    stack, found = Stack(generator), dissect.dissect(probe, 8, level_samples=4, tail=0.4)[rule.layer]
    stack.hold([(patch, 0.5)])
    stack.clear()
    report = report_on(generator, patch, seeds=range(3), source=source)
    return {
        "generator": generator,
        "latents": generator.latents(range(3)),
        "rule": rule,
        "region": regions[0],
        "settings": rule.settings,
        "memory": memory,
        "goals": goals,
        "patch": patch,
        "stack": stack,
        "report": report,
        "effect": report.effect,
        "counts": report.effect.counts,
        "search": Search.of(generator, memory, rule, samples=8),
        "proposal": propose_contexts(generator, rule, seeds=range(10, 40), most=1)[0],
        "proposed_layer": ProposedLayer(rule.layer, replace(patch, forecast={"left_out": LEFT_OUT}), scarce=False),
        "probe": probe,
        "concepts": source.concepts,
        "dissection": found,
        "scores": found.scores,
        "brush": Brush.of_units(found, [1, 2]),
        "intervention": Intervention.off([1], torch.ones(8, 8)),
        "prefix": Prefix.of(generator, rule.layer, [1]),
        "painting": painting,
        "stroke": painting.strokes[0],
    }


def test_a_value_is_told_in_one_line(values):
    for name, value in values.items():
        assert "\n" not in repr(value), name
        assert len(repr(value)) <= 200, name
        assert type(value).__name__ in repr(value), name


@pytest.mark.parametrize("name", ["generator", "patch", "report", "dissection"])
def test_a_notebook_shows_a_value_without_scripts_or_anything_from_outside(values, name):
    html = values[name]._repr_html_()
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!data:image/png;base64,)', html)
    assert not re.findall(r"<(script|link|iframe|style|b|i)\b", html)
    opened, closed = (sorted(re.findall(rf"<{slash}(table|tr|td|th|div|details)\b", html)) for slash in ("", "/"))
    assert opened == closed


def test_a_notebook_shows_what_a_reader_asks_for(values):
    shown = {name: values[name]._repr_html_() for name in ("generator", "patch", "report", "dissection")}
    generator, report = values["generator"], values["report"]
    assert all(layer in shown["generator"] for layer in generator.layers)
    assert generator.fingerprint in shown["generator"]
    assert "&lt;b&gt;rule&lt;/b&gt;" in shown["patch"]
    assert f"{values['patch'].forecast['residual']:.3f}" in shown["patch"]
    assert "too few images are marked" in replace(values["patch"], forecast={"left_out": None})._repr_html_()
    assert "&lt;b&gt;rule&lt;/b&gt;" in shown["report"]
    assert f"{100 * report.verdict.outside.value:.1f} %" in shown["report"]
    assert shown["report"].count("<img") == 1
    assert "&lt;i&gt;dark&lt;/i&gt;" in shown["dissection"]
    assert values["dissection"].scores.units_of()


def promised_functions() -> dict[str, tuple[Callable, str]]:
    """All promised functions and methods, and what is said of them where they are first declared."""
    found = {}
    for house in (rewrite, dissect, rewrite.rules):
        for name in house.__all__:
            each = getattr(house, name)
            if inspect.isfunction(each):
                found[name] = each, inspect.getdoc(each) or ""
            for member in vars(each) if inspect.isclass(each) else {}:
                function = getattr(each, member)
                if inspect.isroutine(function) and callable(function) and not member.startswith("_"):
                    found[f"{name}.{member}"] = inspect.unwrap(function), inspect.getdoc(function) or ""
    return found


def test_what_a_promised_function_raises_is_in_its_docstring():
    for name, (function, text) in promised_functions().items():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        if any(isinstance(each, ast.Raise) and each.exc is not None for each in ast.walk(tree)):
            assert "Raises:" in text, name


def test_what_a_promised_function_returns_is_in_its_docstring():
    for name, (function, text) in promised_functions().items():
        if "." not in name and inspect.signature(function).return_annotation is not None:
            assert "Returns:" in text, name
