"""The cards of a page of units: the data that the page holds, and what draws, sorts and filters them in the browser.

A card is made when it comes near the window, so a page of thousands of units opens at once. Names come from outside:
they reach the page as JSON, and the browser takes them as text and never as markup.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dissect.charts import colour_of

# Of 65535 steps, so that a number takes two bytes.
STEPS = 2**16 - 1
QUALITY = 75

LOOK = """
.tools{display:flex;flex-wrap:wrap;gap:.5rem .75rem;align-items:center;position:sticky;top:0;background:var(--paper);
padding:.6rem 0;border-bottom:1px solid var(--line);z-index:1}
.tools label{font-size:.85rem;color:var(--soft)}
input,select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.35rem;
padding:.25rem .5rem;margin-left:.3rem;max-width:11rem}
.units{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,23.5rem),1fr));gap:.75rem;margin-top:1rem}
.unit{background:var(--card);border-radius:.5rem;padding:.6rem .75rem}
.unit h3{margin:0;font-size:1rem;display:flex;justify-content:space-between;gap:.5rem}
.unit h3 i{font-style:normal;font-weight:400;color:var(--soft);white-space:nowrap}
.unit img{display:block;width:100%;height:auto;border-radius:.2rem;margin:.35rem 0;background:#fff}
.unit p{margin:0;font-size:.8rem;color:var(--soft)}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.35em}
.weak{opacity:.62}
.unit summary{font-size:.8rem;color:var(--soft);margin:.2rem 0 0}.unit table{font-size:.8rem}
@media(max-width:30rem){.tools{gap:.35rem .5rem;padding:.4rem 0}.tools label{font-size:.8rem}
input,select{padding:.15rem .3rem;max-width:7.5rem}}
"""

SCRIPT = """
const data=JSON.parse(document.getElementById('data').textContent),pick=id=>document.getElementById(id);
const controls=['layer','sort','concept','kind','find','only'].map(pick),[layer,sort,concept,kind,find,only]=controls;
const AT_ONCE=48,holder=pick('units'),end=pick('end');
let one,wanted,chosen=[],drawn=0;
function made(tag,text='',name=''){
 const found=document.createElement(tag);if(text!=='')found.textContent=text;if(name)found.className=name;return found;
}
function scores(of){
 if(!of.iou){const raw=atob(of.scores),bytes=new Uint8Array(raw.length);
  for(let i=0;i<raw.length;i++)bytes[i]=raw.charCodeAt(i);of.iou=new Uint16Array(bytes.buffer);}
 return of.iou;
}
const agreement=unit=>wanted<0?unit.pairs[0][1]:scores(one)[unit.unit*data.concepts.length+wanted]/65535;
const name=unit=>data.concepts[unit.pairs[0][0]][0],kindOf=unit=>data.kinds[data.concepts[unit.pairs[0][0]][1]];
const byName=new Intl.Collator(undefined,{numeric:true}).compare;
const number=value=>value==null?'–':value.toFixed(3);
const orders={iou:(a,b)=>agreement(b)-agreement(a),unit:(a,b)=>a.unit-b.unit,
q:(a,b)=>a.pairs[0][4]-b.pairs[0][4]||agreement(b)-agreement(a),
concept:(a,b)=>byName(name(a),name(b))||agreement(b)-agreement(a)};
function row(cells,tag){const found=made('tr');found.append(...cells.map(cell=>made(tag,cell)));return found;}
function table(unit){
 const found=made('table');found.append(row(['concept','IoU','at most','chance','q'],'th'),
 ...unit.pairs.map(([which,...rest])=>row([data.concepts[which][0],...rest.map(number)],'td')));
 return found;
}
function card(unit){
 const found=made('article','','unit'+(unit.sure?'':' weak'));
 const head=made('h3'),left=made('span'),dot=made('span','','dot');
 const [which,iou,most,chance]=unit.pairs[0],image=made('img');
 Object.assign(found.dataset,{unit:unit.unit,concept:name(unit),iou,agreement:agreement(unit)});
 dot.style.background=data.colours[data.concepts[which][1]];
 left.append(dot,name(unit));head.append(left,made('i','unit '+unit.unit));
 Object.assign(image,{decoding:'async',loading:'lazy',width:unit.size[0],height:unit.size[1],
  alt:'images '+unit.images.join(', '),src:'data:image/jpeg;base64,'+unit.strip});
 const between=unit.low==null?'':` (${number(unit.low)} to ${number(unit.high)})`;
 const limits=`at most ${number(most)}, by chance ${number(chance)}`;
 found.append(head,image,made('p',`IoU ${number(iou)}${between}, ${limits}`));
 if(wanted>=0)found.append(made('p',`IoU ${number(agreement(unit))} with ${data.concepts[wanted][0]}`));
 const more=made('details');
 more.append(made('summary',`level ${unit.level??'none'}; other concepts`));
 more.addEventListener('toggle',()=>{if(more.children.length<2)more.append(table(unit));});
 found.append(more);
 return found;
}
function draw(){
 holder.append(...chosen.slice(drawn,drawn+AT_ONCE).map(card));
 drawn=Math.min(drawn+AT_ONCE,chosen.length);
 end.hidden=drawn>=chosen.length;
}
function show(){
 one=data.layers.find(each=>each.layer===layer.value);wanted=+concept.value;
 const words=find.value.trim().toLowerCase().split(/[\\s,]+/).filter(Boolean);
 const fits=unit=>(!kind.value||kindOf(unit)===kind.value)&&(!only.checked||unit.detects)&&
  (!words.length||words.some(word=>name(unit).toLowerCase().includes(word)||String(unit.unit)===word));
 chosen=one.units.filter(fits).sort(orders[sort.value]);drawn=0;
 holder.replaceChildren();draw();
 pick('count').textContent=chosen.length+(chosen.length===1?' unit':' units');
 document.querySelectorAll('.of-layer').forEach(part=>part.hidden=part.dataset.layer!==layer.value);
}
controls.forEach(control=>control.addEventListener('input',show));show();
new IntersectionObserver(seen=>{if(seen.some(each=>each.isIntersecting))draw();},{rootMargin:'900px'}).observe(end);
document.documentElement.dataset.ready='1';
"""


def cards_data(
    document: Mapping[str, Any],
    strips: Mapping[str, Sequence[Image.Image]],
    ious: Mapping[str, Float[np.ndarray, "units concepts"]],
) -> str:
    """All that the cards show, as JSON that can stand in a page."""
    kinds = list(dict.fromkeys(concept["category"] for concept in document["concepts"]))
    numbers = {concept["name"]: number for number, concept in enumerate(document["concepts"])}
    data = {
        "kinds": kinds,
        "colours": [colour_of(number) for number in range(len(kinds))],
        "concepts": [(concept["name"], kinds.index(concept["category"])) for concept in document["concepts"]],
        "layers": [
            {
                "layer": layer["layer"],
                "scores": _packed(ious[layer["layer"]]),
                "units": [
                    _unit(unit, strip, numbers)
                    for unit, strip in zip(layer["unit"], strips[layer["layer"]], strict=True)
                ],
            }
            for layer in document["layers"]
        ],
    }
    # No name can end the script that holds it.
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _unit(unit: Mapping[str, Any], strip: Image.Image, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "unit": unit["unit"],
        "detects": unit["detects"],
        "sure": unit["beyond_chance"],
        "level": None if unit["level"] is None else f"{unit['level']:.3g}",
        "low": _rounded(unit["low"]),
        "high": _rounded(unit["high"]),
        "pairs": [
            (numbers[pair["concept"]], *(_rounded(pair[name]) for name in ("iou", "ceiling", "chance", "q")))
            for pair in (unit, *unit["runners_up"])
        ],
        "images": unit["top_images"][:5],
        "size": strip.size,
        "strip": _jpeg(strip),
    }


def _packed(ious: Float[np.ndarray, "units concepts"]) -> str:
    return base64.b64encode((ious * STEPS).round().astype("<u2").tobytes()).decode()


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
