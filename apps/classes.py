"""The class that a command draws: that of --class, or that of its rule."""

from argparse import Namespace
from collections.abc import Sequence

from apps.parsers.parser import OF_RULE
from rewrite import Rule
from rewrite.generators.classes import Label


def label_for(options: Namespace, rules: Sequence[Rule]) -> Label:
    """The class that was named, or that of the first rule; class 0 without any."""
    if options.label != OF_RULE:
        return options.label
    return rules[0].label if rules else 0
