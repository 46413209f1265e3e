"""Nothing is forgotten, in a real browser: what a reload, a new server and a second press leave as it was."""

import socket
from contextlib import closing

from playwright.sync_api import Dialog, Page

from tests.editors import Editor, needs_chromium
from tests.pages import (
    EDITED,
    brush,
    brush_all,
    marks,
    pixels_of,
    refusal_on,
    rules,
    shown,
    until_changed,
)

pytestmark = needs_chromium
# The end of the first stream of answers reaches the page after it has learnt that the next event was accepted.
LATE_END = """(() => {
  const plain = window.fetch;
  let release = null;
  window.fetch = async (target, options) => {
    const path = String(target.url ?? target), answer = await plain(target, options), held = release;
    if (held && path.includes("/queue/join")) setTimeout(held, 300);
    if (!path.includes("/queue/data") || window.held) return answer;
    const text = new TextDecoder();
    const late = new TransformStream({ transform: async (chunk, out) => {
      if (text.decode(chunk).includes("close_stream")) await new Promise((go) => { release = go; window.held = true; });
      out.enqueue(chunk);
    } });
    return new Response(answer.body.pipeThrough(late), answer);
  };
})()"""
# What the status says from now on, everything of it.
SAID = """() => {
  const status = document.querySelector("#status");
  window.said = [];
  new MutationObserver(() => said.push(status.innerText)).observe(status, { childList: true, subtree: true });
}"""


def rewritten(page: Page) -> list[str]:
    """Mark, rewrite, and set the rule to half strength; the tiles afterwards."""
    brush_all(page)
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    rules(page, 1)
    whole = shown(page)
    page.locator("#rules input[type=range]").fill("0.5")
    return until_changed(page, whole)


def test_a_reload_keeps_marks_rules_strength_choices_and_wall_and_rewrite_works_after_it(open_page, small_editor):
    page = open_page(small_editor.url)
    page.click("button:has-text('Where and how')")
    page.locator("#caution input[type=range]").fill("0.5")
    page.get_by_label("Seeds", exact=True).fill("0-9,20,21")
    page.get_by_label("Seeds", exact=True).press("Enter")
    page.wait_for_selector("#wall .tile[data-seed='21']")
    page.click("#head h1")  # where people write, keys choose no brush
    half = rewritten(page)

    page.reload()
    page.wait_for_selector(EDITED)
    rules(page, 1)
    assert shown(page) == half
    assert page.input_value("#rules input[type=range]") == "0.5"
    assert page.get_by_label("Seeds", exact=True).input_value() == "0,1,2,3,4,5,6,7,8,9,20,21"
    assert ["Copy" in marks(page, 3), "Paste" in marks(page, 0), "Context" in marks(page, 7)] == [True] * 3
    page.click("button:has-text('Where and how')")
    assert page.input_value("#caution input[type=range]") == "0.5"

    # Rewrite takes the marks that came back, and puts its rule in the place of the one that they made before.
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector("#status >> text=Done")
    rules(page, 1)
    brush(page, 5, 0.5, 0.5)
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    rules(page, 2)


def test_a_server_that_is_started_again_goes_on_with_the_page(open_page, library, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    model = library / "small" / "sixteen.safetensors"
    editor = Editor(tmp_path, model, "--tiles", 12, "--samples", 100, "--port", port)
    try:
        page = open_page(editor.url)
        half = rewritten(page)
        before = pixels_of(page, side=16)
        assert page.is_hidden("#gone")
        editor.kill()
        page.wait_for_selector("#gone >> text=does not answer")
        editor.start()
        page.wait_for_selector("#gone >> text=Marks and rules are as they were")
        page.wait_for_selector(EDITED)
        rules(page, 1)
        assert len(shown(page)) == len(half)
        assert float((pixels_of(page, side=16) - before).abs().max()) < 0.02
        assert "Copy" in marks(page, 3)
        page.click("#gone button")
        assert page.is_hidden("#gone")
    finally:
        editor.end()


def test_leaving_asks_while_there_are_rules_that_were_not_saved(open_page, small_editor):
    page, asked = open_page(small_editor.url), []

    def on_dialog(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", on_dialog)
    page.reload()
    page.wait_for_selector("#wall .wall[data-ready='1']")
    assert asked == []
    rewritten(page)
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector(EDITED)
    with page.expect_download():
        page.click("#rules >> role=button[name='Save this rule as a file']")
    page.wait_for_selector("#rules .rules[data-unsaved='0']")
    page.reload()
    page.wait_for_selector(EDITED)
    assert asked == ["beforeunload"]


def test_an_error_resets_the_status_rewrite_says_so_at_once_and_two_presses_make_one_rule(
    open_page, small_editor, tmp_path
):
    page = open_page(small_editor.url)
    brush_all(page)
    page.wait_for_selector("#status >> text=Press Rewrite")
    (tmp_path / "rule.json").write_text('{"schema": "rewrite-rule/1"}')
    page.click("#files")
    page.set_input_files("input[type=file]", tmp_path / "rule.json")
    refusal_on(page)
    assert "Solving" not in page.inner_text("#status")

    page.wait_for_selector("#rewrite:enabled")
    page.evaluate(SAID)
    page.dblclick("#rewrite")
    # The page says so itself: the server may be busy, and a forecast that was on its way may come after it.
    page.wait_for_function("said.some((text) => text.includes('Rewriting …'))")
    page.wait_for_selector("#status >> text=Done")
    rules(page, 1)
    page.click("#rewrite")
    page.wait_for_selector("#status >> text=Rewriting …", state="detached")
    page.wait_for_selector("#status >> text=Done")
    rules(page, 1)


def test_a_mark_counts_though_the_stream_of_answers_ended_when_it_came(open_page, small_editor):
    page = open_page(small_editor.url, LATE_END)
    page.wait_for_function("window.held")
    brush(page, 3, 0.5, 0.4)
    page.wait_for_selector("#status >> text=Brush where it shall go")
