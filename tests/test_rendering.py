"""Templates: what they are given is shown as text, in HTML and in Markdown, and what they are not given is an error."""

import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from PIL import Image

from rewrite.reports.rendering import SHARED, number, percent, render
from tests.markup import HOSTILE, Page

ROOT = Path(__file__).parents[1]


@pytest.fixture
def template(tmp_path):
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


def test_text_is_shown_as_text_in_html(template):
    shown = Page(render(template("page.html", '<p title="{{ name }}">{{ name }}</p>'), name=HOSTILE))
    assert shown.elements == [("p", {"title": HOSTILE})]
    assert shown.text == HOSTILE


def test_text_is_escaped_in_markdown_unless_it_is_marked(template):
    page = template(
        "page.md", "{% macro item(text) %}- {{ text }}{% endmacro %}{{ item(name) }} {{ count }} {{ code }}"
    )
    shown = render(page, name="a [b](http://c) <d>", count=12, code=Markup("`e.f`"))
    assert shown == r"- a \[b\]\(http\://c\) &lt;d&gt; 12 `e.f`"


def test_a_name_that_a_page_does_not_get_is_an_error(template):
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render(template("page.html", "<h1>{{ title }}</h1>"))


def test_data_in_a_script_cannot_end_it(template):
    page = render(
        template("page.html", '<script id="data">{{ data | tojson }}</script><p>'), data={HOSTILE: [HOSTILE, 1]}
    )
    assert [tag for tag, _ in Page(page).elements] == ["script", "p"]
    assert json.loads(re.search(">(.*?)</script>", page)[1]) == {HOSTILE: [HOSTILE, 1]}


def test_numbers_that_json_does_not_know_are_refused(template):
    with pytest.raises(ValueError, match="JSON compliant"):
        render(template("page.html", "{{ data | tojson }}"), data=[float("nan")])


def test_pages_of_any_folder_extend_the_one_that_all_share(template):
    page = template("page.html", '{% extends "base.html" %}{% block body %}<h1>{{ title }}</h1>{% endblock %}')
    shown = Page(render(page, title="A & B"))
    assert shown.policy == "default-src 'none';img-src data:;style-src 'unsafe-inline'"
    assert shown.text.count("A & B") == 2


def test_every_page_has_the_head_and_the_policy_of_all():
    pages = [path for room in ("rewrite", "dissect", "apps/commands") for path in (ROOT / room).rglob("*.html")]
    pages = [path for path in pages if '{% from "notebook.html" import' not in path.read_text()]
    own = [path for path in pages if path.parent != SHARED or path.name == "report.html"]
    own = [path for path in own if not path.name.startswith("_")]  # a part, for pages to hold
    assert len(own) >= 6
    assert [str(path) for path in own if not path.read_text().startswith('{% extends "base.html" %}\n')] == []
    assert [path.name for path in own if "{% block policy %}" in path.read_text()] == ["unit_page.html"]


def test_pictures_stand_inside_the_page_and_large_ones_are_reduced(template):
    page = template("page.html", '{% from "parts.html" import image %}{{ image(picture, name, 40) }}')
    ((tag, attributes),) = Page(render(page, picture=Image.new("RGB", (80, 20)), name=HOSTILE)).elements
    assert (tag, attributes["width"], attributes["height"], attributes["alt"]) == ("img", "40", "10", HOSTILE)
    assert attributes["src"].startswith("data:image/png;base64,")


def test_figures_are_written_as_people_read_them():
    assert [number(3), number(0.12345), number(0.5, "g"), number(None), number(None, missing="none")] == [
        *("3", "0.123", "0.5", "–", "none")
    ]
    assert [percent(0.1234), percent(0.5, 0), percent(None)] == ["12.3 %", "50 %", "–"]
