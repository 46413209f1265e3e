"""The page of a classifier: the tab of questions, in the look of the editor."""

from pathlib import Path

import gradio as gr

from apps.editor.page import LOOK as EDITORS_LOOK
from apps.editor.questions import Questions
from apps.editor.questions_tab import QuestionsTab
from dissect.questions.answer_page import CSS

HERE = Path(__file__).parent
TABS = ("Questions",)
LOOK = {
    **EDITORS_LOOK,
    "css": "".join(
        [EDITORS_LOOK["css"], CSS.read_text(encoding="utf-8"), (HERE / "questions.css").read_text(encoding="utf-8")]
    ),
}


def build(questions: Questions) -> gr.Blocks:
    """Assemble the page.

    Args:
        questions: The classifier, and what all pages share of it.
    """
    with gr.Blocks(title="Ask a classifier", analytics_enabled=False) as blocks:
        gr.HTML('<h1>Ask a classifier</h1><p id="gone" role="alert" hidden></p>', elem_id="head")
        with gr.Tab(TABS[0]):
            QuestionsTab(questions, blocks.load)
    return blocks
