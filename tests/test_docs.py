"""What the documentation shows is true: its Python runs, its commands parse, its links lead somewhere."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import dissect
import rewrite
import rewrite.rules
from apps import ignored
from apps.cli import COMMANDS, build_parser
from docs import reference
from rewrite.checkpoints import loading
from tests.networks import marked_rule

ROOT = Path(rewrite.__file__).parent.parent
DOCS = {path.name: path for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = {**DOCS, "README.md": ROOT / "README.md"}
GENERATED = {"commands.md": reference.commands, "names.md": reference.names}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
# By what blocks are known that need names, files or units of the reader's own, "" for all of a page: they must compile,
# and what they import must be there.
OF_THE_READER = {"README.md": ("segmenter", "wrap(module", "[3, 17]"), "classifiers.md": ("",)}


def blocks(page: str, language: str) -> list[str]:
    return [code for named, code in BLOCK.findall(PAGES[page].read_text(encoding="utf-8")) if named == language]


def commands(page: str) -> list[str]:
    """Every line of a page that calls the program: in blocks, in steps of a CI job, in the first column of a table."""
    text = PAGES[page].read_text(encoding="utf-8")
    shell = [line for language, code in BLOCK.findall(text) if language in ("", "yaml") for line in code.splitlines()]
    lines = [line.strip().removeprefix("- run: ") for line in shell]
    lines += re.findall(r"^\| `(rewrite [^`]+)` \|", text, re.MULTILINE)
    # Of the rest of a line, a shell reads a comment and a redirection itself.
    return [re.split(r"\s+[#>]\s*", line)[0] for line in lines if line.startswith("rewrite ")]


WITH_COMMANDS = [page for page in PAGES if commands(page)]
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.fixture
def small_world(files, tmp_path, monkeypatch, cache) -> None:
    """The small model and its rule in place of those of the library, in an empty folder."""
    rule = replace(marked_rule(files["model"]), effect={}, expect={})
    rule.save(tmp_path / "rule.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(loading.BUILT_IN, "towers", files["model"])
    for name in rewrite.rules.BUILT_IN:
        monkeypatch.setitem(rewrite.rules.BUILT_IN, name, tmp_path / "rule.json")


def test_there_is_something_to_try():
    assert {"README.md", "first-rule.md", "price.md", "checks.md"} <= set(WITH_COMMANDS)
    assert {"README.md", "first-rule.md", "own-model.md", "own-concepts.md", "price.md"} <= set(WITH_PYTHON)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_of_a_page_is_one(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in commands(page):
        arguments = shlex.split(line)[1:]
        parser = build_parser()
        options = parser.parse_args(arguments)
        ignored.check(options.command, parser.commands[options.command].actions, arguments, options)


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_every_target_that_a_page_names_is_there(page):
    text = PAGES[page].read_text(encoding="utf-8")
    modules = re.findall(r"python -m ((?:apps|benchmarks|tests)[\w.]*)", text)
    assert [name for name in modules if not (ROOT / (name.replace(".", "/") + ".py")).is_file()] == []
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE) if f"\n{name}:" not in targets] == []


@pytest.mark.usefixtures("small_world")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs_from_its_first_block_to_its_last(page, capsys):
    names: dict[str, object] = {}
    for code in blocks(page, "python"):
        compiled = compile(code, page, "exec")
        if any(word in code for word in OF_THE_READER.get(page, ())):
            imports = "\n".join(line for line in code.splitlines() if line.startswith(("from ", "import ")))
            exec(imports, names)
        else:
            torch.manual_seed(0)
            exec(compiled, names)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page):
    found = LINK.findall(BLOCK.sub("", PAGES[page].read_text(encoding="utf-8")))
    assert [link for link in found if link not in GENERATED and not (PAGES[page].parent / link).is_file()] == []


def test_every_page_is_in_the_table_of_contents_and_every_entry_is_a_page():
    entries = re.findall(r"([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(entries) == sorted([*DOCS, *GENERATED])


def test_the_reference_has_every_command_and_every_promised_name():
    told = reference.commands()
    for name in COMMANDS:
        assert f"## rewrite {name}\n" in told
        assert f"usage: rewrite {name} " in told
    listed = reference.names().split()
    for house in (rewrite, rewrite.rules, dissect):
        assert [name for name in house.__all__ if f"{house.__name__}.{name}" not in listed] in ([], ["__version__"])


def test_the_citation_names_this_version_and_every_paper_that_the_readme_links():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {rewrite.__version__}\n" in citation
    papers = re.findall(r"https://arxiv\.org/abs/[\d.]+", PAGES["README.md"].read_text(encoding="utf-8"))
    assert len(papers) >= 3
    assert [paper for paper in papers if f"url: {paper}\n" not in citation] == []
