"""Whether the editor works in Firefox: the example is tried, rewritten, weakened and taken back, with a real mouse.

    pip install marionette-driver==3.7.1
    python -m benchmarks.firefox_story [--pictures DIR]

It needs Debian's firefox-esr (or another Firefox on the path), and no screen. Ends with status 1 where a step fails.
"""

import argparse
import base64
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.editors import TILES, running

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SECONDS = 900
SEEN = "return [...document.querySelectorAll('#wall .tile .edited:not([hidden])')].map((tile) => tile.src).join()"


class Story:
    """A page in Firefox, and the steps of a user on it.

    Args:
        driver: The browser.
        pictures: Where screenshots of each step go; None for nowhere.
    """

    def __init__(self, driver: Any, pictures: Path | None):
        self.driver, self.pictures, self.number = driver, pictures, 0

    def asks(self, script: str) -> Any:
        """What a script on the page returns."""
        return self.driver.execute_script(script, sandbox=None)

    def sees(self, selector: str) -> bool:
        """Whether the page has an element."""
        return self.asks(f"return document.querySelector({selector!r}) !== null")

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds, and tell how long it took."""
        start = time.monotonic()
        while not (seen := holds()) and time.monotonic() - start < SECONDS:
            time.sleep(0.5)
        if self.pictures:
            self.number += 1
            file = self.pictures / f"{self.number}.png"
            file.write_bytes(base64.b64decode(self.driver.screenshot(full=False)))
        if not seen:
            raise TimeoutError(f"{what}: not within {SECONDS} s")
        print(f"{what}: {time.monotonic() - start:.1f} s", flush=True)

    def presses(self, selector: str) -> None:
        """Click on an element with the mouse."""
        self._element(selector).click()

    def brushes(self, selector: str) -> None:
        """Draw a short line in the middle of an element."""
        from marionette_driver.marionette import ActionSequence

        element = self._element(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", script_args=[element])
        mouse = ActionSequence(self.driver, "pointer", "mouse", {"pointerType": "mouse"})
        mouse.pointer_move(-8, 0, origin=element).pointer_down(button=0)
        mouse.pointer_move(8, 4, duration=100, origin=element).pointer_up(button=0).perform()

    def _element(self, selector: str) -> Any:
        from marionette_driver.by import By

        return self.driver.find_element(By.CSS_SELECTOR, selector)


def tell(story: Story, url: str) -> None:
    """The main story: open, try the example, rewrite, weaken, undo, brush."""
    story.driver.navigate(url)
    story.until("the wall is there", lambda: story.sees("#wall .wall[data-ready='1']"))
    everything = f"#wall .wall[data-edited='{TILES}']"
    story.presses("#try")
    story.until("the example is rewritten", lambda: story.sees(everything) and story.sees("#rules [data-rules='1']"))
    first = story.asks(SEEN)
    story.until("Rewrite can be pressed", lambda: story.sees("#rewrite:not([disabled])"))
    story.presses("#rewrite")
    story.until("it is done again", lambda: "Done" in story.asks("return document.querySelector('#status').innerText"))
    story.asks(
        "const slider = document.querySelector('#rules input[type=range]'); slider.value = '0.5';"
        "slider.dispatchEvent(new Event('input', {bubbles: true}));"
        "slider.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    story.until("half the strength shows", lambda: story.asks(SEEN) not in ("", first))
    story.presses("#rules .drop, #rules button[aria-label^='Delete']")
    story.until("the rule is gone", lambda: story.sees("#rules [data-rules='0']"))
    story.presses("#wall button[aria-label*='Take all marks away']")
    story.brushes("#wall .tile canvas")
    story.until("a stroke is a mark", lambda: story.sees("#wall .tile[aria-label*='marked: Copy']"))


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a folder for a screenshot of each step")
    options = parser.parse_args()
    if FIREFOX is None:
        sys.exit("no firefox-esr or firefox is on the path")
    try:
        from marionette_driver.marionette import Marionette
    except ImportError:
        sys.exit("this needs marionette-driver: pip install marionette-driver==3.7.1")
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "towers", "--tiles", TILES) as editor:
        log = str(Path(folder) / "gecko.log")
        driver = Marionette(bin=FIREFOX, headless=True, startup_timeout=SECONDS, gecko_log=log)
        driver.start_session()
        try:
            driver.set_window_rect(width=1440, height=1000)
            driver.timeout.script = driver.timeout.page_load = SECONDS
            tell(Story(driver, options.pictures), editor.url)
        except TimeoutError as error:
            sys.exit(str(error))
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
