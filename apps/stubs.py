"""Gradio without the stubs that it writes.

As a class of a component is made, Gradio parses the file of the class and writes a `.pyi` beside it, for type checkers:
more than half of the time that its import takes, and a write into folders that are often shared or read-only.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

WRITER, FUNCTION = "gradio.component_meta", "create_or_modify_pyi"


class _Finder(MetaPathFinder):
    """Finds the module that writes them, and takes its function away once the module has run."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's own spec, or None for any other module."""
        if name != WRITER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                if hasattr(module, FUNCTION):
                    setattr(module, FUNCTION, lambda *_: None)

            spec.loader.exec_module = exec_module
        return spec


def write_none() -> None:
    """Let Gradio write no stubs from here on, if it was not imported before."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
