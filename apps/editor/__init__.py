"""The editor: a page on which rules are brushed, priced, applied, taken back and exported."""

from apps import stubs

# Before any of its modules imports Gradio.
stubs.write_none()
