"""The wall in a real browser: mouse moves, fingers and keys, and what it looks like."""

import json

import numpy as np

from tests.editors import TILES, needs_chromium
from tests.pages import (
    CONTEXTS,
    DOME,
    EDITED,
    PLACE,
    brush,
    canvas,
    marks,
)

pytestmark = needs_chromium


def test_truncation_is_set_for_the_whole_wall_and_a_latent_is_shown_and_downloaded(open_page, tmp_path):
    page = open_page()
    page.click("#latents button:has-text('Truncation')")
    number = page.locator("#truncation input[type=number]")
    number.fill("0.5")
    number.press("Enter")
    page.wait_for_selector(f"#wall .tile:nth-child({TILES}) >> text=seed {TILES - 1} ψ 0.5")
    assert page.get_by_label("Seeds", exact=True).input_value() == f"0-{TILES - 1}"
    page.fill("#latent-of textarea, #latent-of input", "3")
    page.click("#show-latent")
    page.wait_for_function("document.querySelector('#latent-numbers textarea').value.startsWith('[[')")
    with page.expect_download() as download:
        page.click("#latent-file a")
    download.value.save_as(tmp_path / "w.npz")
    assert np.load(tmp_path / "w.npz")["w"].shape[:2] == (1, 1)

    page.click("#head h1")
    numbers = page.eval_on_selector_all("#wall .tile", "all => all.map((each) => each.dataset.seed)")
    page.keyboard.press("2")
    brush(page, numbers[PLACE[0]], *PLACE[1:])
    page.keyboard.press("1")
    brush(page, numbers[DOME[0]], *DOME[1:])
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    with page.expect_download() as download:
        page.click("#rules >> role=button[name='Save this rule as a file']")
    download.value.save_as(tmp_path / "rule.json")
    rule = json.loads((tmp_path / "rule.json").read_text())
    assert rule["copy"][0]["latent"]["seed"] == DOME[0]
    assert len(rule["copy"][0]["latent"]["w"]) == 1


def test_marks_are_undone_redone_erased_and_cleared_and_a_copy_lives_on_one_tile_and_contexts_on_many(open_page):
    page = open_page()
    brush(page, *DOME)
    assert "Copy" in marks(page, DOME[0])
    page.keyboard.press("Control+z")
    assert "no marks" in marks(page, DOME[0])
    page.keyboard.press("Control+y")
    assert "Copy" in marks(page, DOME[0])
    page.keyboard.press("e")
    page.locator("#wall input[aria-label='Brush size']").fill("10")
    brush(page, *DOME)
    assert "no marks" in marks(page, DOME[0])
    page.click("#wall >> role=button[name='Undo the last mark (Ctrl Z)']")
    page.click("#wall >> role=button[name='Clear: Take all marks away']")
    assert "no marks" in marks(page, DOME[0])

    page.keyboard.press("1")
    brush(page, 0, 0.5, 0.5)
    page.keyboard.press("1")
    brush(page, 1, 0.5, 0.5)
    assert ["Copy" in marks(page, seed) for seed in (0, 1)] == [False, True]
    page.keyboard.press("3")
    for seed in (2, 3):
        brush(page, seed, 0.5, 0.5)
    assert ["Context" in marks(page, seed) for seed in (2, 3)] == [True, True]


def test_a_narrow_dark_page_has_everything_scrolls_only_up_and_down_is_readable_and_a_finger_brushes(open_page):
    page = open_page(size=(420, 800), color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    for part in ("#wall", "#status", "#rewrite", "#stop", "#rules"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 420

    page.wait_for_selector("body.dark")

    def light(selector: str, what: str) -> float:
        colour = page.eval_on_selector(selector, f"each => getComputedStyle(each).{what}")
        numbers = [float(part) for part in colour.strip("rgba() ").split(",")[:3]]
        return sum(numbers) / 3

    assert light("body", "backgroundColor") < 60
    for text in ("#wall .bar button", "#status p", "#rules h2"):
        assert light(text, "color") > 170

    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    canvas(page, 1).scroll_into_view_if_needed()
    box = canvas(page, 1).bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    for step in range(1, 6):
        point = {"x": at["x"] + 5 * step, "y": at["y"]}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_selector("#status >> text=Brush where it shall go")
    assert "Copy" in marks(page, 1)


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page()
    for number, (role, seed) in enumerate(((1, DOME[0]), (2, PLACE[0]), (3, CONTEXTS[0][0]))):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement?.dataset?.seed ?? ''") == str(seed):
                break
        else:
            tile = page.locator(f"#wall .tile[data-seed='{seed}']")
            for _ in range(60):
                page.keyboard.press("Shift+Tab")
                if tile.evaluate("tile => tile === document.activeElement"):
                    break
        page.keyboard.press(str(role))
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert ("Copy", "Paste", "Context")[number] in marks(page, seed)
    page.wait_for_selector("#rewrite:enabled")
    page.focus("#rewrite")
    page.keyboard.press("Enter")
    page.wait_for_selector(EDITED)
    page.focus("#rules input[type=checkbox]")
    page.keyboard.press("Space")
    page.wait_for_selector("#wall .wall[data-edited='0']")
