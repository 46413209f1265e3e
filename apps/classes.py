"""The class that a command draws: that of --class, or that of its rule or painting."""

from argparse import Namespace
from collections.abc import Sequence

from apps.parsers.parser import OF_FILE
from dissect.causes.painting import Painting
from rewrite import Rule
from rewrite.generators.classes import Label


def label_for(options: Namespace, files: Sequence[Rule] | Sequence[Painting]) -> Label:
    """The class that was named, or that of the first file; class 0 without any."""
    if options.label != OF_FILE:
        return options.label
    return files[0].label if files else 0
