"""`rewrite bench`: what the library takes, as ratios to references in the same run."""

import json
from argparse import Namespace
from pathlib import Path

from apps.bench import table
from apps.bench.clock import alone
from apps.bench.measured import Measured, measured
from apps.bench.peer import Peer
from apps.bench.subject import Subject
from rewrite.interrupts import goes_on_from
from rewrite.storage.files import write_together

STATE = "measured.json"


def run(options: Namespace) -> dict:
    """Measure the lines, and write the table."""
    peer = None if options.peer is None else Peer.at(options.peer)
    lines = table.chosen(options.only, peer is not None)
    if peer is not None:
        peer.check()
    subject = Subject(options.model, quick=options.quick, peer=peer)
    identity = {"model": subject.generator.fingerprint, "quick": options.quick, **table.machine()}
    state = None if options.out is None else options.out / STATE
    kept = Measured(state, identity)
    with goes_on_from(*[] if state is None else [state]), alone():
        rows = measured(lines, subject, kept)
    document = table.document_of(subject, rows)
    if options.out is None:
        return document
    contents = {"bench.json": json.dumps(document, indent=1) + "\n", "bench.html": table.page(document)}
    write_together(options.out, {name: text.encode() for name, text in contents.items()})
    return {"out": str(options.out), **document}


def tell(result: dict) -> str:
    """The table."""
    shown = table.text(result)
    return f"{shown}\npage: {Path(result['out']) / 'bench.html'}" if "out" in result else shown
