"""`rewrite check`: edits replayed, and held against what their rules expect."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apps.commands.report import draw_as, rules_of, source_of
from apps.commands.solve import solved
from apps.memories import memory_of
from apps.seeds import images_of
from rewrite import Generator, Patch, Report, Rule, load_generator, report_on
from rewrite.rules import rule_path

COLUMNS = ("edit", "rule", "measure", "expected", "found", "")
GAP = "  "


def run(options: Namespace) -> dict:
    """Replay every edit, one after the other; each is read before the first is replayed."""
    edits = {text: _read(text) for text in options.edits}
    generator = load_generator(options.model, device=options.device)
    checks: list[dict[str, Any]] = []
    failed: list[str] = []
    notes: list[str] = []
    for text, edit in edits.items():
        found = _replayed(generator, edit, options)
        checks += [{"edit": text, **asdict(each), "side": each.side, "met": each.met} for each in found.expectations]
        failed += [f"{text}: {each}" for each in found.failed]
        notes += [f"{text}: {note}" for note in found.notes if "LPIPS" not in note]
    return {"model": generator.fingerprint, "checks": checks, "notes": notes, "failed": failed}


def tell(result: dict) -> str:
    """A table of expectations, then what could not be measured, and how many failed."""
    rows = [COLUMNS, *map(_row, result["checks"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *result["notes"], f"{len(result['failed'])} of {len(result['checks'])} failed"])


def _row(check: dict[str, Any]) -> tuple[str, ...]:
    found = "not measured" if check["found"] is None else f"{check['found']:.3f}"
    expected, word = f"{check['side']} {check['bound']:g}", "met" if check["met"] else "failed"
    return check["edit"], check["rule"], check["measure"], expected, found, word


def _read(text: str) -> Rule | Patch:
    """The rule or the patch that a word on the command line stands for.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is neither, or expects nothing: a check that checks nothing would always succeed.
    """
    path = rule_path(text)
    edit = Rule.load(path) if _is_json(path) else Patch.load(path)
    if not any(rule.expect for rule in _rules(edit)):
        raise ValueError(f'nothing says what {text} is to do: give its rule an "expect", as docs/formats.md says')
    return edit


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    # A safetensors file begins with its length, which may look like a brace too, but holds zeros.
    return start.startswith(b"{") and b"\0" not in start[:8]


def _rules(edit: Rule | Patch) -> Sequence[Rule]:
    return [edit] if isinstance(edit, Rule) else rules_of([edit])


def _replayed(generator: Generator, edit: Rule | Patch, options: Namespace) -> Report:
    rules = _rules(edit)
    draw_as(generator, rules, options)
    if isinstance(edit, Rule):
        key_space = edit.settings.key_space
        patch = solved(generator, memory_of(generator, edit.layer, options.samples, key_space, progress=True), edit)
    else:
        patch = edit
    source = source_of(options.segmenter, rules, generator)
    return report_on(generator, patch, seeds=images_of(options, generator), source=source, progress=True)
