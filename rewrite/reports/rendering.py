"""Templates become text: whatever they show is escaped, as HTML or SVG or as Markdown, unless it is marked as safe."""

import base64
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from rewrite.reports import markdown
from rewrite.reports.pictures import png

if TYPE_CHECKING:
    from jinja2 import Environment

SHARED = Path(__file__).parent / "templates"
UNKNOWN = "–"


def render(template: Path, **values: Any) -> str:
    """Fill a template in.

    Args:
        template: Its file. It may extend and import those of its folder, and those that all pages share.
        values: What it shows. A name that it uses and does not get is an error.
    """
    return _environment(template.parent, template.suffix).get_template(template.name).render(values)


@functools.cache
def _environment(folder: Path, suffix: str) -> "Environment":
    # Imported late: most who import the library write no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        # What is escaped as Markdown is marked as safe, so that it is not escaped as HTML, too.
        finalize=markdown.escape if suffix == ".md" else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "percent": percent, "png": png_url, "reduced": reduced}
    # JSON in the order that it is given in; Jinja escapes what could end a script.
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made


def number(value: int | float | None, form: str = ".3f", missing: str = UNKNOWN) -> str:
    """A number as people read it; a whole one has no decimals."""
    if value is None:
        return missing
    return str(value) if isinstance(value, int) else format(value, form)


def percent(share: int | float | None, digits: int = 1, missing: str = UNKNOWN) -> str:
    """A share as people read it."""
    return missing if share is None else f"{100 * share:.{digits}f} %"


def reduced(picture: Image.Image, largest: int) -> Image.Image:
    """A picture whose sides are at most so many pixels; a smaller one stays as it is."""
    picture = picture.copy()
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return picture


def png_url(picture: Image.Image) -> str:
    """A picture that stands inside the page."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()
