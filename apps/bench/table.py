"""The table: all lines, those of a run, and what was measured of them as JSON, text and a page."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from apps.bench import answering, edits, held, measuring, peer_lines, units
from apps.bench.lines import BYTES, Line, Row
from rewrite import __version__
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "bench.html"
LINES = {line.name: line for part in (edits, measuring, units, held, answering, peer_lines) for line in part.LINES}


def chosen(only: Sequence[str] | None, peer: bool) -> list[Line]:
    """The lines of a run, in the order of the table: those that are named, or all that can be measured.

    Raises:
        ValueError: One needs released code, and none is named.
    """
    found = [line for name, line in LINES.items() if only is None or name in only]
    for line in found:
        if line.of_peer and only is not None and not peer:
            raise ValueError(f"{line.name} is measured against released code: name its checkout with --peer")
    return [line for line in found if peer or not line.of_peer]


def machine() -> dict[str, Any]:
    """What the figures were measured with: nothing that names the machine or its folders."""
    return {
        "threads": 1,
        "clock": "processor time",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "library": __version__,
    }


def text(document: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    about, rows = document["machine"], [row for row in document["rows"] if "ratio" in row]
    wide = max([len("line"), *(len(row["name"]) for row in document["rows"])])
    lines = [
        f"{document['model']}, layer {document['layer']}; {about['clock']} on one thread, torch {about['torch']}. "
        "Ratios are ours over the reference: below 1 takes less.",
        "",
        f"{'line':{wide}}  {'ratio':>8}  {'range of rounds':>18}  {'rounds':>6}  {'ours':>9}  {'reference':>9}",
    ]
    for row in rows:
        ends, rounds = f"{short(row['least'])} to {short(row['most'])}", row["rounds"]
        ours, reference = (amount(row[side], row["unit"]) for side in ("our_median", "reference_median"))
        lines.append(
            f"{row['name']:{wide}}  {short(row['ratio']):>8}  {ends:>18}  {rounds:>6}  {ours:>9}  {reference:>9}"
        )
    lines.append("")
    for row in rows:
        lines.append(f"{row['name']}: {row['ours']}, to {row['reference']}{_figures(row['figures'])}")
    lines += [f"{row['name']} is skipped: {row['skipped']}" for row in document["rows"] if "skipped" in row]
    return "\n".join(lines)


def page(document: Mapping[str, Any]) -> str:
    """The table as HTML."""
    return render(TEMPLATE, document=document, short=short, amount=amount, told=_figures)


def short(value: float) -> str:
    """A number with two or three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def amount(value: float, unit: str) -> str:
    """Seconds or bytes as people read them."""
    if unit == BYTES:
        return f"{value / 1e6:.1f} MB"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _figures(figures: Mapping[str, float]) -> str:
    told = "; ".join(f"{name}: {value:.3g}" for name, value in figures.items())
    return f" ({told})" if told else ""


def document_of(subject: Any, rows: Sequence[Row]) -> dict[str, Any]:
    """The table as JSON."""
    return {
        "model": subject.named,
        "layer": subject.layer,
        "quick": subject.quick,
        "peer": None if subject.peer is None else subject.peer.kind,
        "machine": machine(),
        "rows": [row.document() for row in rows],
    }
