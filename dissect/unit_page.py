"""A dissection as one HTML page that needs nothing else: the units with their images, to sort and to filter."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from dissect.charts import bars, colour_of
from rewrite.page import whole_page

# No network at all; the page's own script and pictures are inside it.
POLICY = "default-src 'none';img-src data:;style-src 'unsafe-inline';script-src 'unsafe-inline'"
LOOK = """
.tools{display:flex;flex-wrap:wrap;gap:.5rem .75rem;align-items:center;position:sticky;top:0;background:var(--paper);
padding:.6rem 0;border-bottom:1px solid var(--line);z-index:1}
.tools label{font-size:.85rem;color:var(--soft)}
input,select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.35rem;
padding:.25rem .5rem;margin-left:.3rem;max-width:11rem}
.units{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,23.5rem),1fr));gap:.75rem;margin-top:1rem}
.unit{background:var(--card);border-radius:.5rem;padding:.6rem .75rem}
.unit h3{margin:0;font-size:1rem;display:flex;justify-content:space-between;gap:.5rem}
.unit h3 i{font-style:normal;font-weight:400;color:var(--soft)}
.unit img{display:block;width:100%;height:auto;border-radius:.2rem;margin:.35rem 0;background:#fff}
.unit p{margin:0;font-size:.8rem;color:var(--soft)}
.unit[hidden]{display:none}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.35em}
.weak{opacity:.62}
.overview td,.overview th{text-align:center;padding:.15rem .5rem;font-weight:400;white-space:nowrap}
.overview th:first-child{text-align:left}
summary{font-size:.8rem;color:var(--soft);margin:.2rem 0 0}.unit table{font-size:.8rem}
"""
SCRIPT = """
const cards=[...document.querySelectorAll('.unit')],pick=id=>document.getElementById(id);
const controls=['layer','sort','find','kind','only'].map(pick),[layer,sort,find,kind,only]=controls;
const orders={iou:(a,b)=>b.dataset.iou-a.dataset.iou,unit:(a,b)=>a.dataset.unit-b.dataset.unit,
q:(a,b)=>a.dataset.q-b.dataset.q||b.dataset.iou-a.dataset.iou,
concept:(a,b)=>a.dataset.concept.localeCompare(b.dataset.concept)||b.dataset.iou-a.dataset.iou};
function show(){
 const words=find.value.trim().toLowerCase().split(/[\\s,]+/).filter(Boolean);let count=0;
 cards.sort(orders[sort.value]);
 for(const card of cards){
  const data=card.dataset;
  const fits=data.layer===layer.value&&(!kind.value||data.kind===kind.value)&&(!only.checked||data.detects==='1')&&
   (!words.length||words.some(word=>data.concept.toLowerCase().includes(word)||data.unit===word));
  card.hidden=!fits;count+=fits;
 }
 pick('units').append(...cards);
 pick('count').textContent=count+(count===1?' unit':' units');
 document.querySelectorAll('.of-layer').forEach(part=>part.hidden=part.dataset.layer!==layer.value);
}
controls.forEach(control=>control.addEventListener('input',show));show();
"""


def unit_page(document: Mapping[str, Any], strips: Mapping[str, Sequence[Image.Image]], title: str) -> str:
    """Write a dissection as HTML.

    Args:
        document: The dissection as plain numbers, as `document_of` gives it.
        strips: For every layer the strip of each unit.
        title: What was dissected.
    """
    layers = document["layers"]
    kinds = list(dict.fromkeys(concept["category"] for concept in document["concepts"]))
    cards = "".join(
        _card(layer["layer"], unit, strip, kinds)
        for layer in layers
        for unit, strip in zip(layer["unit"], strips[layer["layer"]], strict=True)
    )
    body = (
        f'<h1>{escape(title)}</h1><p class="soft">{_about(document)}</p>'
        f"{_overview(layers, document['concepts'])}{_tools(layers, kinds)}"
        + "".join(_layer(layer, document) for layer in layers)
        + f'<section class="units" id="units">{cards}</section><script>{SCRIPT}</script>'
    )
    return whole_page(escape(title), body, LOOK, POLICY)


def _about(document: Mapping[str, Any]) -> str:
    identity, rule = document["identity"], document["rule"]
    return (
        f"{document['images']} images, whose pixels were named by {escape(str(identity.get('source', '')))}. "
        f"A unit is lit where it passes its level, which {_percent(identity['tail'])} of the pixels of other images "
        f"pass. It detects a concept where the IoU is above {rule['iou']:g}. Faded: agreement that chance may give, at "
        f"a rate of {_percent(rule['false_discoveries'])} false discoveries."
    )


def _overview(layers: Sequence[Mapping], concepts: Sequence[Mapping]) -> str:
    """How many units of each layer detect each concept, where there is more than one layer."""
    if len(layers) < 2:
        return ""
    found = [concept for concept in concepts if any(concept["name"] in layer["by_concept"] for layer in layers)]
    most = max((count / layer["units"] for layer in layers for count in layer["by_concept"].values()), default=1)

    def cell(layer: Mapping, name: str) -> str:
        count = layer["by_concept"].get(name, 0)
        shade = round(60 * count / layer["units"] / most)
        colour = f"background:color-mix(in srgb,var(--bar) {shade}%,transparent)"
        return f'<td style="{colour}">{count or ""}</td>'

    heads = "".join(f"<th>{escape(layer['layer'])}</th>" for layer in layers)
    rows = "".join(
        f"<tr><th>{escape(concept['name'])}</th>{''.join(cell(layer, concept['name']) for layer in layers)}</tr>"
        for concept in found
    )
    ends = "".join(f"<th>{layer['detectors']} of {layer['units']}</th>" for layer in layers)
    return (
        '<h2>Units that detect, by layer</h2><div class="scroll"><table class="overview">'
        f"<tr><th></th>{heads}</tr>{rows}"
        f"<tr><th>all</th>{ends}</tr></table></div><h2>Unit by unit</h2>"
    )


def _tools(layers: Sequence[Mapping], kinds: Sequence[str]) -> str:
    def options(entries: Mapping[str, str]) -> str:
        return "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in entries.items())

    names = {layer["layer"]: f"{layer['layer']} ({layer['units']})" for layer in layers}
    sorts = {"iou": "IoU", "unit": "number", "concept": "concept", "q": "certainty"}
    categories = {"": "all", **{kind: kind for kind in kinds}}
    return (
        '<div class="tools">'
        f'<label>Layer<select id="layer">{options(names)}</select></label>'
        f'<label>Sort by<select id="sort">{options(sorts)}</select></label>'
        f'<label>Category<select id="kind">{options(categories)}</select></label>'
        '<label>Find<input id="find" type="search" placeholder="tree, 17"></label>'
        '<label><input id="only" type="checkbox"> detectors only</label><span id="count" class="soft"></span></div>'
    )


def _layer(layer: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    categories = {concept["name"]: concept["category"] for concept in document["concepts"]}
    text = (
        f"{layer['detectors']} of {layer['units']} units detect one of {layer['concepts_detected']} concepts; "
        f"{layer['detectors_beyond_chance']} of them beyond chance."
    )
    chart = bars(layer["by_concept"], categories, f"Units of {layer['layer']} by the concept that they detect")
    shown = chart if layer["by_concept"] else ""
    name = escape(layer["layer"])
    return f'<section class="of-layer" data-layer="{name}"><p>{text}</p><div class="scroll">{shown}</div></section>'


def _card(layer: str, unit: Mapping[str, Any], strip: Image.Image, kinds: Sequence[str]) -> str:
    data = {
        "layer": layer,
        "unit": unit["unit"],
        "concept": unit["concept"],
        "kind": unit["category"],
        "iou": f"{unit['iou']:.6f}",
        "q": f"{unit['q']:.6f}",
        "detects": int(unit["detects"]),
    }
    marks = "".join(f' data-{name}="{escape(str(value))}"' for name, value in data.items())
    colour = colour_of(kinds.index(unit["category"]))
    seeds = ", ".join(str(number) for number in unit["top_images"][:5])
    rows = "".join(_row(each) for each in (unit, *unit["runners_up"]))
    between = "" if unit["low"] is None else f" ({unit['low']:.3f} to {unit['high']:.3f})"
    level = "none" if unit["level"] is None else f"{unit['level']:.3g}"
    faded = "" if unit["beyond_chance"] else " weak"
    return (
        f'<article class="unit{faded}"{marks}><h3><span><span class="dot" style="background:{colour}"></span>'
        f"{escape(unit['concept'])}</span><i>unit {unit['unit']}</i></h3>"
        f'<img loading="lazy" width="{strip.width}" height="{strip.height}" alt="images {seeds}" src="{_jpeg(strip)}">'
        f"<p>IoU {unit['iou']:.3f}{between}, at most {unit['ceiling']:.3f}, by chance {unit['chance']:.3f}</p>"
        f"<details><summary>level {level}; other concepts</summary><table><tr><th>concept</th><th>IoU</th>"
        f"<th>at most</th><th>chance</th><th>q</th></tr>{rows}</table></details></article>"
    )


def _row(pair: Mapping[str, Any]) -> str:
    numbers = "".join(f"<td>{pair[name]:.3f}</td>" for name in ("iou", "ceiling", "chance", "q"))
    return f"<tr><td>{escape(pair['concept'])}</td>{numbers}</tr>"


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
