"""The editor's page in a browser: what people do on it, and what they see."""

import json
from base64 import b64decode

import numpy as np
import torch
from playwright.sync_api import Page

from tests.editors import TILES

EDITED = f"#wall .wall[data-edited='{TILES}']"
PRICE = "#price .price"
TABS = ["Rewrite", "Paint", "Photo", "Units", "Artifacts", "Model", "Export"]
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


def offered(page: Page) -> list[str]:
    """The seeds of tiles with proposed places."""
    return page.eval_on_selector_all("#wall .tile.offered", "all => all.map((each) => each.dataset.seed)")


def walls(page: Page) -> list[str]:
    """The tiles on the wall as they are without rules."""
    return page.eval_on_selector_all("#wall .tile > img:first-of-type", "all => all.map((each) => each.src)")


def refusal_on(page: Page) -> str:
    """What the page says of what was refused; the note is closed after that."""
    text = page.inner_text(".toast-body.error .toast-message-text")
    page.click(".toast-body.error .toast-close")
    page.wait_for_selector(".toast-body.error", state="detached")
    return text


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
