"""The editor as people use it: a real browser, real mouse moves, fingers and keys."""

import json
from base64 import b64decode

import numpy as np
import torch
from playwright.sync_api import Page

from rewrite import load_generator
from tests.editors import TILES, needs_chromium, running

pytestmark = needs_chromium
EDITED = f"#wall .wall[data-edited='{TILES}']"
PRICE = "#price .price"
# Where towers of the built-in generator stand: seed, and shares of the width and the height.
DOME, PLACE, CONTEXTS = (3, 0.5, 0.4), (0, 0.79, 0.28), ((1, 0.78, 0.3), (7, 0.19, 0.3), (8, 0.77, 0.32))


def canvas(page: Page, seed: int):
    return page.locator(f"#wall .tile[data-seed='{seed}'] canvas")


def brush(page: Page, seed: int, x: float, y: float) -> None:
    """One stroke of the mouse around a place, which the tools that stay in view do not cover."""
    canvas(page, seed).evaluate("tile => tile.scrollIntoView({block: 'center'})")
    box = canvas(page, seed).bounding_box()
    page.mouse.move(box["x"] + (x - 0.04) * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    for share in (-0.02, 0.0, 0.02, 0.04):
        page.mouse.move(box["x"] + (x + share) * box["width"], box["y"] + (y + share / 2) * box["height"], steps=3)
    page.mouse.up()


def brush_all(page: Page) -> None:
    """Mark three contexts, paste a dome once, and copy it last: a price is reckoned with every mark from there on."""
    page.keyboard.press("3")
    for context in CONTEXTS:
        brush(page, *context)
    page.keyboard.press("2")
    brush(page, *PLACE)
    page.keyboard.press("1")
    brush(page, *DOME)


def marks(page: Page, seed: int) -> str:
    return page.get_attribute(f"#wall .tile[data-seed='{seed}']", "aria-label")


def shown(page: Page) -> list[str]:
    """The edited tiles on the wall."""
    return page.eval_on_selector_all("#wall .tile .edited:not([hidden])", "all => all.map((each) => each.src)")


def until_changed(page: Page, before: list[str]) -> list[str]:
    tiles = "[...document.querySelectorAll('#wall .tile .edited:not([hidden])')].map((each) => each.src)"
    script = f"before => JSON.stringify({tiles}) !== before"
    page.wait_for_function(script, arg=json.dumps(before, separators=(",", ":")))
    page.wait_for_timeout(100)
    return shown(page)


def rules(page: Page, count: int) -> None:
    page.wait_for_selector(f"#rules .rules[data-rules='{count}']")


def test_the_whole_story(open_page, towers_editor, tmp_path):
    page = open_page()
    assert page.is_disabled("#rewrite")
    assert "Brush what you want more of" in page.inner_text("#status")
    brush(page, *DOME)
    page.wait_for_selector("#status >> text=Brush where it shall go")
    page.keyboard.press("2")
    brush(page, *PLACE)
    page.wait_for_selector("#status >> text=Better with 3 or more contexts")
    page.keyboard.press("3")
    for context in CONTEXTS:
        brush(page, *context)
    page.wait_for_selector("#status >> text=Contexts 4")
    assert "Context" in marks(page, 7)

    page.wait_for_selector(f"{PRICE} >> text=would arrive where you did not mark")
    page.click(f"{PRICE} summary")
    page.wait_for_selector(f"{PRICE} >> text=Arrives where you did not mark")
    page.wait_for_selector("#status >> text=would arrive where you did not mark")
    page.wait_for_selector(f"{PRICE} svg circle.chosen")
    assert page.locator(f"{PRICE} svg circle").count() == 5
    assert shown(page) == []

    page.click("text=Where would it fire?")
    page.wait_for_selector("#wall .wall[data-hot='12']")
    assert page.locator("#wall .hot:visible").count() == 12
    page.click("text=Where would it fire?")

    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    rules(page, 1)
    whole = shown(page)
    wipe = page.get_by_label("Wipe between before and after")
    wipe.fill("0")
    cut = "getComputedStyle(document.querySelector('#wall .tile .edited')).clipPath"
    assert page.evaluate(cut) == "inset(0px 0px 0px 100%)"
    wipe.fill("100")

    page.locator("#rules input[type=range]").fill("0.5")
    half = until_changed(page, whole)
    page.click("#rules >> text=Undo")
    assert until_changed(page, half) == whole
    page.click("#rules >> text=Redo")
    assert until_changed(page, whole) == half

    name = page.locator("#rules input.name")
    name.fill("Domes for spires")
    name.press("Enter")
    with page.expect_download() as download:
        page.click("#rules >> role=button[name='Save this rule as a file']")
    download.value.save_as(tmp_path / "rule.json")
    assert json.loads((tmp_path / "rule.json").read_text())["name"] == "Domes for spires"

    page.click("#rules >> role=button[name='Delete this rule']")
    rules(page, 0)
    page.click("#files")
    page.set_input_files("#load input[type=file], input[type=file]", tmp_path / "rule.json")
    rules(page, 1)
    page.wait_for_selector(EDITED)
    assert page.input_value("#rules input.name") == "Domes for spires"

    page.click("role=tab[name='Export']")
    page.fill("#name textarea, #name input", "story")
    page.click("#export")
    page.wait_for_selector("#exported >> text=story.safetensors")
    out = towers_editor.folder / "out" / "story"
    assert {"README.md", "report.html", "story.safetensors", "story-rule-1.json"} <= {p.name for p in out.iterdir()}
    page.click("#export")
    page.wait_for_selector("#exported >> text=There already")
    assert "story.safetensors (is there already" in page.inner_text("#planned")
    assert page.is_visible("#replace")
    page.focus("#name textarea, #name input")
    page.keyboard.type(", again!")
    page.wait_for_selector("#planned >> text=story-again.safetensors")
    assert page.is_hidden("#replace")
    with page.expect_download() as download:
        page.click("#downloads >> a[download='story.safetensors'] >> nth=0")
    download.value.save_as(tmp_path / "story.safetensors")
    assert (tmp_path / "story.safetensors").read_bytes() == (out / "story.safetensors").read_bytes()

    edited, plain = load_generator(tmp_path / "story.safetensors"), load_generator("towers")
    page.click("role=tab[name='Rewrite']")
    seeds = page.eval_on_selector_all("#wall .tile", "all => all.map((each) => +each.dataset.seed)")
    seen = pixels_of(page)
    expected = edited.sample(seeds)
    assert float((seen - expected).abs().mean()) < 0.02
    assert float((seen - plain.sample(seeds)).abs().mean()) > 0.02


def pixels_of(page: Page, selector: str = "#wall .tile .edited", side: int = 64) -> torch.Tensor:
    """Tiles as the browser shows them, in [-1, 1]."""
    script = """async (selector) => Promise.all([...document.querySelectorAll(selector)].map(async (image) => {
      await image.decode();
      const paper = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d');
      paper.drawImage(image, 0, 0);
      return btoa(String.fromCharCode(...paper.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data));
    }))"""
    found = np.stack([np.frombuffer(b64decode(each), np.uint8) for each in page.evaluate(script, selector)])
    images = torch.from_numpy(found.reshape(-1, side, side, 4)[..., :3].astype(np.float32))
    return images.permute(0, 3, 1, 2) / 127.5 - 1


def test_the_rules_are_measured_on_new_images_and_a_rank_is_proposed(open_page):
    page = open_page()
    brush_all(page)
    page.wait_for_selector(PRICE)
    page.click("button:has-text('Where and how')")
    page.wait_for_selector("#why >> text=directions carry 95 % of the change")
    page.click("#propose")
    page.wait_for_function("Number(document.querySelector('#rank input').value) > 1")
    page.wait_for_selector("#why >> text=what other directions would add is cut away")
    page.click("#rewrite")
    rules(page, 1)
    page.click("#measure-rules")
    page.wait_for_selector("#report .measured[data-images='100']")
    assert page.locator("#report img").count() == 8
    # What was measured held for the rules as they were.
    page.locator("#rules input[type=range]").first.fill("0.5")
    page.wait_for_selector("#report .measured", state="detached")


def offered(page: Page) -> list[str]:
    """The seeds of tiles with proposed places."""
    return page.eval_on_selector_all("#wall .tile.offered", "all => all.map((each) => each.dataset.seed)")


def test_more_places_are_outlined_on_their_tiles_and_accepted_or_refused(open_page):
    page = open_page()
    page.click("#more-places")
    assert refusal_on(page).startswith("Brush the place that is meant")
    page.keyboard.press("3")
    for context in CONTEXTS:
        brush(page, *context)
    page.wait_for_selector("#status >> text=Contexts 3")
    page.click("#more-places")
    page.wait_for_selector("#status >> text=accept (Y) or refuse (N)")
    # Their images are on the wall, with the places outlined; the list shows those without room there.
    page.wait_for_selector("#wall .tile.offered canvas")
    seeds = offered(page)
    assert len(seeds) > 4
    assert page.locator("#wall .tile").count() == 24
    waiting = int(page.get_attribute("#proposals .proposals", "data-proposals"))
    assert page.locator("#proposals li:visible").count() == waiting - len(seeds) > 0
    assert "proposed places outlined" in marks(page, seeds[0])
    white = "each => each.getContext('2d').getImageData(0, 0, 256, 256).data.filter((one) => one > 250).length"
    assert canvas(page, seeds[0]).evaluate(white) > 200
    assert canvas(page, 5).evaluate(white) == 0

    page.locator(f"#wall .tile[data-seed='{seeds[2]}']").hover()
    page.keyboard.press("y")
    # What the status says of it gives way to the next step at once.
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[2]}'][aria-label*='Context']")
    page.wait_for_function("!document.querySelector('#status').innerText.includes('Contexts 3')")
    page.mouse.move(5, 5)
    page.keyboard.press("n")
    # It leaves the wall, and the next takes its place.
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[0]}']", state="detached")
    assert page.locator("#wall .tile").count() == 24
    page.click(f"role=button[name='Accept the outlined places of seed {seeds[1]} (key Y)']")
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[1]}'][aria-label*='Context']")
    page.wait_for_selector(f"#proposals .proposals[data-proposals='{waiting - 3}']")
    page.click("#proposals >> text=Accept all")
    page.wait_for_selector("#wall .tile.offered", state="detached")
    assert page.is_hidden("#proposals p")
    page.wait_for_selector(f"#wall .tile[data-seed='{seeds[3]}'][aria-label*='Context']")

    # What was refused is not offered again.
    page.click("#more-places")
    page.wait_for_selector("#proposals li")
    assert page.locator(f"[data-seed='{seeds[0]}']").count() == 0


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


def test_marks_are_undone_redone_erased_and_cleared(open_page):
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


def test_a_copy_lives_on_one_tile_and_contexts_on_many(open_page):
    page = open_page()
    brush(page, 0, 0.5, 0.5)
    page.keyboard.press("1")
    brush(page, 1, 0.5, 0.5)
    assert ["Copy" in marks(page, seed) for seed in (0, 1)] == [False, True]
    page.keyboard.press("3")
    for seed in (2, 3):
        brush(page, seed, 0.5, 0.5)
    assert ["Context" in marks(page, seed) for seed in (2, 3)] == [True, True]


def test_a_finger_brushes(open_page):
    page = open_page(viewport={"width": 420, "height": 800}, has_touch=True, is_mobile=True)
    canvas(page, 1).scroll_into_view_if_needed()
    box = canvas(page, 1).bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    for step in range(1, 6):
        point = {"x": at["x"] + 5 * step, "y": at["y"]}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_selector("#status >> text=Brush where it shall go")
    assert "Copy" in marks(page, 1)


def test_a_narrow_page_has_everything_and_scrolls_only_up_and_down(open_page):
    page = open_page(viewport={"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    for part in ("#wall", "#status", "#rewrite", "#stop", "#rules"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 420


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


def test_dark_mode_is_dark_and_readable(open_page):
    page = open_page(color_scheme="dark")
    page.wait_for_selector("body.dark")

    def light(selector: str, what: str) -> float:
        colour = page.eval_on_selector(selector, f"each => getComputedStyle(each).{what}")
        numbers = [float(part) for part in colour.strip("rgba() ").split(",")[:3]]
        return sum(numbers) / 3

    assert light("body", "backgroundColor") < 60
    for text in ("#wall .bar button", "#status p", "#rules h2"):
        assert light(text, "color") > 170


def test_a_second_session_sees_nothing_of_the_first(open_page):
    first, second = open_page(), open_page()
    brush(first, *DOME)
    first.keyboard.press("2")
    brush(first, *PLACE)
    first.wait_for_selector("#rewrite:enabled")
    first.click("#rewrite")
    first.wait_for_selector(EDITED)
    rules(first, 1)
    rules(second, 0)
    assert shown(second) == []
    brush(second, *DOME)
    second.wait_for_selector("#status >> text=Brush where it shall go")
    rules(second, 0)
    assert "no marks" in marks(second, PLACE[0])


def test_long_work_is_stopped_and_leaves_nothing(open_page, tmp_path):
    # So many images that a busy machine is not done with them before Stop is pressed.
    with running(tmp_path, "towers", "--samples", 20_000, "--tiles", 4) as editor:
        page, cache = open_page(editor.url), editor.folder / "cache"
        kept = sorted(path.name for path in cache.rglob("*"))
        page.click("role=tab[name='Model']")
        page.click("#layer-to-measure input")
        page.click("role=option[name='b64.conv1']")
        page.click("#measure")
        page.wait_for_selector("#progress progress")
        page.click("#stop-measuring")
        page.wait_for_selector("#progress >> text=Stopped")
        page.wait_for_timeout(1000)
        assert "Stopped" in page.inner_text("#progress")
        assert sorted(path.name for path in cache.rglob("*")) == kept


def open_model(page: Page, name: str) -> None:
    """Write the path of a model and press Open."""
    page.click("role=tab[name='Model']")
    page.fill("#model input", name)
    page.press("#model input", "Enter")
    page.click("#open")


def test_another_model_is_opened_by_its_path_and_each_keeps_its_own_marks_and_rules(open_page, library):
    page = open_page()
    brush(page, *DOME)
    page.keyboard.press("2")
    brush(page, *PLACE)
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    rules(page, 1)
    page.click("role=tab[name='Model']")
    before = (page.inner_text("#about .facts"), walls(page), shown(page))

    for name in (
        "../outside.safetensors",
        str(library.parent / "outside.safetensors"),
        "small/../../outside.safetensors",
    ):
        open_model(page, name)
        assert refusal_on(page) == (
            "this server may open no such model: it opens files of the folders given with --models"
        )
    open_model(page, "letter.pt")
    text = refusal_on(page)
    assert len(text) < 400
    assert "Traceback" not in text
    assert (page.inner_text("#about .facts"), walls(page), shown(page)) == before
    assert "Copy" in marks(page, DOME[0])
    page.click("role=tab[name='Rewrite']")
    rules(page, 1)

    open_model(page, "small/sixteen.safetensors")
    page.wait_for_selector("#opened >> text=small/sixteen.safetensors is open")
    opened, facts = load_generator(library / "small" / "sixteen.safetensors"), page.inner_text("#about")
    assert opened.fingerprint in facts
    assert "16 × 16 pixels" in facts
    assert page.locator("#about tbody tr td:first-child").all_inner_texts() == list(opened.layers)
    page.click("role=tab[name='Rewrite']")
    page.wait_for_selector("#wall .wall[data-edited='0']")
    rules(page, 0)
    assert all("no marks" in marks(page, seed) for seed in range(TILES))
    assert "Brush what you want more of" in page.inner_text("#status")
    seen = pixels_of(page, "#wall .tile img:first-of-type", 16)
    assert float((seen - opened.sample(range(TILES))).abs().mean()) < 0.05
    page.keyboard.press("1")
    brush(page, 1, 0.5, 0.5)
    page.wait_for_selector("#status >> text=Brush where it shall go")
    assert "Copy" in marks(page, 1)

    # Each model has what it was left with, and one that is opened while it is open stays as it is.
    for _ in range(2):
        open_model(page, "towers")
        page.wait_for_selector("#opened >> text=towers is open")
        page.click("role=tab[name='Rewrite']")
        page.wait_for_selector(f"#wall .tile[data-seed='{DOME[0]}'][aria-label*='Copy']")
        page.wait_for_selector("#rewrite:enabled")
        page.wait_for_selector(EDITED)
        rules(page, 1)
        assert "no marks" in marks(page, 1)


def walls(page: Page) -> list[str]:
    """The tiles on the wall as they are without rules."""
    return page.eval_on_selector_all("#wall .tile > img:first-of-type", "all => all.map((each) => each.src)")


def refusal_on(page: Page) -> str:
    """What the page says of what was refused; the note is closed after that."""
    text = page.inner_text(".toast-body.error .toast-message-text")
    page.click(".toast-body.error .toast-close")
    page.wait_for_selector(".toast-body.error", state="detached")
    return text
