"""A report as one HTML page that needs nothing else: no script, no outside resource, pictures as data URIs."""

import base64
from collections.abc import Container, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from rewrite.reports.pictures import Pair, png

LARGEST_SIDE = 256

POLICY = "default-src 'none';img-src data:;style-src 'unsafe-inline'"
MEASURED = {
    "concepts": (
        "Share of the pixels that showed what the rule replaces and that now show what it wants.",
        "Share of all other pixels whose concept changed.",
    ),
    "places": (
        "Share of the wanted change that happened at the layer, on the images that the rule was marked on.",
        "Share of the pixels outside the marks whose colour moved, on the images that the rule was marked on.",
    ),
    "colours": ("No rule says what is wanted.", "Share of all pixels whose colour moved."),
}
FORECAST = {
    "residual": "Share of the wanted change that is missing at the marked places.",
    "damage": "Expected relative change of what the layer writes elsewhere.",
    "drift": "Mean ratio of the layer's demodulation to what it was; 1 is none.",
    "interference": "Relative change at places that were to stay.",
}
STYLE = """
:root{color-scheme:light dark;--ink:#1d2129;--soft:#5b6470;--paper:#fff;--card:#f4f5f7;--line:#dfe2e7;--bar:#7a5ea8;
--good:#1c7a46;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#a3abb7;--paper:#14161a;--card:#1f2228;--line:#343942;
--bar:#a78bd6;--good:#64c48e;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1.25rem 1rem 3rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem}
p{margin:.25rem 0 .75rem;max-width:44rem}small,.soft{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.75rem;margin:1rem 0}
.card{background:var(--card);border-radius:.5rem;padding:.75rem 1rem}
.card b{display:block;font-size:1.9rem;line-height:1.2;font-variant-numeric:tabular-nums}
.good{color:var(--good)}.bad{color:var(--bad)}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(max(6.5rem,11%),1fr));gap:.75rem}
figure{margin:0}figure img{display:block;width:100%;height:auto;margin-bottom:2px}
figcaption{font-size:.8rem;color:var(--soft);text-align:center}
.map{max-width:16rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}
.bar{background:var(--bar);height:.7rem;border-radius:.2rem;min-width:2px}
.chart td:last-child{width:45%;vertical-align:middle}
summary{cursor:pointer;margin:.5rem 0}
"""


def page(document: Mapping[str, Any], shown: Sequence[Pair], worst: Sequence[Pair], change: Image.Image) -> str:
    """Write a report as HTML.

    Args:
        document: The report as plain numbers and texts, as in report.json.
        shown: The first images before and after.
        worst: Those with the most change outside.
        change: Where colours moved, over all images.
    """
    title = " + ".join(document["rules"]) or "A patch without a rule"
    sections = [
        _head(document, title),
        section("Before and after", pairs_of(shown), "Above as the model draws it, below with the change."),
        _transitions(document),
        section("Most change outside", pairs_of(worst), "The images that changed most where nothing should."),
        section("Where colours moved", _map(document, change)),
        section("Forecast", _forecast(document), "What the solver expected before any image was drawn."),
        section("Measured", _measured(document)),
        section("Image by image", _per_image(document)),
        _notes(document),
    ]
    return whole_page(f"{escape(title)}: side effects", "\n".join(part for part in sections if part))


def whole_page(title: str, body: str, style: str = "", policy: str = POLICY) -> str:
    """A page around its body.

    Args:
        title: Its title, as HTML.
        body: What it shows, as HTML.
        style: Rules beyond those that all pages share.
        policy: What the browser may load and run.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{title}</title><style>{STYLE}{style}</style></head>\n<body>{body}</body></html>\n"
    )


def _head(document: Mapping[str, Any], title: str) -> str:
    patches = "; ".join(
        f"Rank {patch['rank']} on layer {escape(patch['layer'])} at strength {patch['strength']:g}"
        for patch in document["patches"]
    )
    about = f"{patches}. Measured on {document['images']} images of model {escape(document['model'])}."
    hopes = {each["measure"]: each for each in document["expectations"]}
    cards = [_card(document, name, hopes.get(name)) for name in ("efficacy", "outside")]
    if document["clear"]:
        clear, least = document["clear"]["share"], document["clear"]["least"]
        text = f"Share of the images with something to replace in which at least {_percent(least, 0)} of it was."
        cards.append(f'<div class="card">Images with a clear effect<b>{_percent(clear)}</b><small>{text}</small></div>')
    cards = "".join(cards)
    return f'<h1>{escape(title)}</h1><p class="soft">{about}</p>{_verdict(document)}<div class="cards">{cards}</div>'


def _verdict(document: Mapping[str, Any]) -> str:
    count, met = len(document["expectations"]), sum(each["met"] for each in document["expectations"])
    if not count:
        return ""
    text = "All expectations are met." if met == count else f"{count - met} of {count} expectations failed."
    return f'<p class="{"good" if met == count else "bad"}"><strong>{text}</strong></p>'


def _card(document: Mapping[str, Any], name: str, hope: Mapping[str, Any] | None) -> str:
    value, interval = document[name], document[f"{name}_interval"]
    label = {"efficacy": "Efficacy", "outside": "Change outside"}[name]
    text = MEASURED[document["measured_by"]][0 if name == "efficacy" else 1]
    between = ""
    if interval and interval[0] is not None:
        between = f'<span class="soft">95 %: {_percent(interval[0])} to {_percent(interval[1])}</span><br>'
    expected = ""
    if hope:
        side = "at least" if name == "efficacy" else "at most"
        style, word = ("good", "met") if hope["met"] else ("bad", "failed")
        expected = f'<br><span class="{style}">expected {side} {_percent(hope["bound"])}: {word}</span>'
    return f'<div class="card">{label}<b>{_percent(value)}</b>{between}<small>{text}</small>{expected}</div>'


def _transitions(document: Mapping[str, Any]) -> str:
    if not document["clear"]:
        return ""
    found = document["transitions"]
    if not found:
        return section("What changed outside", "<p>No pixel changed its concept.</p>")
    most = max(each["share"] for each in found)
    rows = [
        (
            f"{escape(each['from'])} → {escape(each['to'])}",
            _percent(each["share"], 2),
            f'<div class="bar" style="width:{100 * each["share"] / most:.1f}%"></div>',
        )
        for each in found
    ]
    text = "Which concept became which, as shares of all pixels outside; the most frequent first."
    return section("What changed outside", table(("Concept", "Share", ""), rows, "chart"), text)


def _map(document: Mapping[str, Any], change: Image.Image) -> str:
    colours = document["colours"]
    text = (
        "Mean over all images, from none (dark) to the most there is (light). A colour moved by "
        f"{colours['difference']:.3f} on average (images run from -1 to 1), and by more than {colours['threshold']:g} "
        f"at {_percent(colours['moved'])} of the pixels."
    )
    return f'<p>{text}</p><figure class="map">{image_tag(change, "where colours moved")}</figure>'


def _forecast(document: Mapping[str, Any]) -> str:
    rows = []
    for patch in document["patches"]:
        for name, text in FORECAST.items():
            value = patch["forecast"].get(name)
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            rows += [
                (f"{escape(patch['layer'])}: {name} {escape(part)}", _number(number), text)
                for part, number in parts
                if isinstance(number, int | float)
            ]
    return table(("What", "Value", "Meaning"), rows) if rows else "<p>The patch carries no forecast.</p>"


def _measured(document: Mapping[str, Any]) -> str:
    rows = []
    for place in document["places"]:
        name = f"{escape(place['rule'])}, on its {place['images']} images"
        rows.append((f"{name}: residual", _number(place["residual"]), "Wanted change that is missing at the layer."))
        for side, where in (("inside", "under the marks"), ("outside", "outside the marks")):
            rows.append((f"{name}: moved {where}", _percent(place[side]["moved"]), "Pixels whose colour moved."))
    lpips = document["lpips"]
    if lpips:
        name = f"LPIPS ({escape(lpips['trunk'])})"
        rows.append((name, _number(lpips["whole"]), "How different the images look."))
        if lpips["outside"] is not None:
            rows.append((f"{name}, outside", _number(lpips["outside"]), "The same, away from the wanted change."))
    return table(("What", "Value", "Meaning"), rows) if rows else "<p>Nothing beyond the numbers above.</p>"


def _per_image(document: Mapping[str, Any]) -> str:
    columns = [name for name in document["per_image"][0] if name != "seed"]
    rows = [(str(row["seed"]), *(_number(row[name]) for name in columns)) for row in document["per_image"]]
    titles = ("seed", *(name.replace("_", " ") for name in columns))
    return f"<details><summary>{len(rows)} images</summary>{table(titles, rows, numbers=range(len(titles)))}</details>"


def _notes(document: Mapping[str, Any]) -> str:
    return "".join(f'<p class="soft">{escape(note)}</p>' for note in document["notes"])


def section(title: str, content: str, text: str = "") -> str:
    """A part of a page under its heading, or nothing where there is no content. All three are HTML."""
    if not content:
        return ""
    return f"<section><h2>{title}</h2>{f'<p>{text}</p>' if text else ''}{content}</section>"


def pairs_of(pairs: Sequence[Pair]) -> str:
    """Images before and after, side by side."""
    figures = (
        f"<figure>{image_tag(pair.before, f'{pair.caption} before')}{image_tag(pair.after, f'{pair.caption} after')}"
        f"<figcaption>{escape(pair.caption)}</figcaption></figure>"
        for pair in pairs
    )
    return f'<div class="pairs">{"".join(figures)}</div>' if pairs else ""


def image_tag(picture: Image.Image, text: str, largest: int = LARGEST_SIDE) -> str:
    """A picture inside the page, with what it shows for those who cannot see it; larger ones are reduced."""
    picture = picture.copy()
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    content = base64.b64encode(png(picture)).decode()
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img {size} alt="{escape(text)}" src="data:image/png;base64,{content}">'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], style: str = "", numbers: Container[int] = (1,)) -> str:
    """A table, some of whose columns hold numbers; the cells are HTML."""
    mark = [' class="n"' if column in numbers else "" for column in range(len(titles))]
    head = "".join(f"<th{kind}>{title}</th>" for kind, title in zip(mark, titles, strict=True))
    cells = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(mark, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="scroll"><table class="{style}"><tr>{head}</tr>{body}</table></div>'


def _percent(value: float | None, digits: int = 1) -> str:
    return "not measured" if value is None else f"{100 * value:.{digits}f} %"


def _number(value: int | float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
