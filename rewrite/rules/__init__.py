"""What is asked for: rules, masks, and the rules that come with the library."""

from rewrite.rules.built_in import BUILT_IN, rule_path

__all__ = ["BUILT_IN", "rule_path"]
