"""The pages of the site that nobody writes: every command by its parser, every promised name by its docstring."""

from functools import partial
from typing import TYPE_CHECKING

import dissect
import rewrite
import rewrite.rules
from apps.cli import build_parser
from apps.parsers.parser import Parser

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

# Of lines, in characters: what the site shows without scrolling.
WIDTH = 88


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages; mkdocs calls this once it has found the others."""
    from mkdocs.structure.files import File

    for name, content in (("commands.md", commands()), ("names.md", names())):
        files.append(File.generated(config, name, content=content))
    return files


def commands() -> str:
    """What `--help` says of each command."""
    parser = build_parser()
    parts = ["# Commands", _help(parser)]
    for name, command in parser.commands.items():
        parts += [f"## rewrite {name}", _help(command)]
    return "\n\n".join(parts) + "\n"


def _help(parser: Parser) -> str:
    parser.formatter_class = partial(parser.formatter_class, width=WIDTH)
    return f"```text\n{parser.format_help()}```"


def names() -> str:
    """The promised names, for mkdocstrings to fill in."""
    parts = ["# Python names", "All other names are internal: they may change with any version."]
    for house in (rewrite, rewrite.rules, dissect):
        parts.append(f"## {house.__name__}")
        parts += [f"::: {house.__name__}.{name}" for name in house.__all__ if not name.startswith("__")]
    return "\n\n".join(parts) + "\n"
