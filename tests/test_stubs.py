"""Gradio writes no stubs beside the files of components."""

import sys
from importlib import import_module

import apps.editor.component  # noqa: F401  imports Gradio as the editor does


def test_a_component_of_ones_own_leaves_no_file_beside_its_source(tmp_path, monkeypatch):
    (tmp_path / "own_component.py").write_text("import gradio as gr\n\n\nclass Own(gr.HTML):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = import_module("own_component").Own
    assert callable(own.change)
    assert list(tmp_path.glob("*.pyi")) == []
    del sys.modules["own_component"]
