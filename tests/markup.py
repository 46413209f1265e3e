"""Pages as a browser reads them, and a name that would be markup if a page let it."""

import json
from html.parser import HTMLParser
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    @property
    def policy(self) -> str:
        """What the browser may load and run."""
        return next(each["content"] for _, each in self.elements if "http-equiv" in each)


def renamed(document: Any, *names: str) -> Any:
    """A document in which each of some names is the hostile one wherever it stands, also as a key."""
    text = json.dumps(document)
    for name in names:
        assert json.dumps(name) in text, name
        text = text.replace(json.dumps(name), json.dumps(HOSTILE))
    return json.loads(text)


def assert_shown_as_text(page: str) -> None:
    """The hostile name is on the page, and made no element and no attribute."""
    read = Page(page)
    assert HOSTILE in read.text
    assert not [each for _, each in read.elements if any(name.startswith("on") for name in each)]
    assert all(each["src"].startswith("data:") for _, each in read.elements if "src" in each)
