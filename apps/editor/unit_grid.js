const root = element.querySelector(".units");
const ticked = new Set();
let cards = [], turn = 0;
const bar = make("div", "bar"), find = make("input"), order = make("select"), only = make("input");
const onlyLabel = make("label", "check"), count = make("span", "soft"), none = make("button", "", "Untick all");
find.type = "search"; find.placeholder = "Concept or number"; find.setAttribute("aria-label", "Search units");
order.setAttribute("aria-label", "Sort units"); only.type = "checkbox"; none.type = "button";
for (const [value, text] of [["iou", "Best agreement first"], ["worst", "Least agreement first"], ["effect", "Most effect first"], ["concept", "By concept"], ["unit", "By number"]]) {
  const option = make("option", "", text);
  option.value = value; order.append(option);
}
onlyLabel.append(only, make("span", "", "Ticked only"));
bar.append(find, order, onlyLabel, none, count);
const wall = make("div", "sheet"), grid = make("div", "grid"), note = make("p", "soft");
note.setAttribute("role", "status"); note.setAttribute("aria-live", "polite");
root.replaceChildren(note, wall, bar, grid);

const send = () => {
  const units = [...ticked].sort((a, b) => a - b);
  root.dataset.waiting = ++turn;
  note.textContent = units.length ? `Drawing the images without ${units.length === 1 ? "1 unit" : `${units.length} units`} …` : "Drawing …";
  props.value = { layer: props.layer, ticked: units, turn };
  trigger("input");
};
const mark = () => {
  for (const card of cards) {
    const on = ticked.has(card.unit);
    card.box.checked = on; card.item.classList.toggle("on", on);
  }
  none.disabled = !ticked.size; root.dataset.ticked = ticked.size;
};
none.addEventListener("click", () => { ticked.clear(); mark(); arrange(); send(); });
const taken = (card) => props.effects[card.unit]?.share ?? -Infinity;
const sorts = {
  effect: (a, b) => (taken(b) - taken(a)) || b.iou - a.iou,
  iou: (a, b) => b.iou - a.iou, worst: (a, b) => a.iou - b.iou, unit: (a, b) => a.unit - b.unit,
  concept: (a, b) => a.concept.localeCompare(b.concept) || b.iou - a.iou,
};
const arrange = () => {
  const wanted = find.value.trim().toLowerCase();
  const fits = (card) => (!wanted || card.concept.includes(wanted) || String(card.unit) === wanted) && (!only.checked || ticked.has(card.unit));
  const visible = cards.filter(fits).sort(sorts[order.value]);
  grid.replaceChildren(...visible.map((card) => card.item));
  count.textContent = `${visible.length} of ${cards.length} units`;
  root.dataset.visible = visible.length;
};
for (const [part, event] of [[find, "input"], [order, "change"], [only, "change"]]) part.addEventListener(event, arrange);
const cardOf = (unit) => {
  const item = make("label", "unit"), box = make("input"), image = make("img"), text = make("span", "name");
  const strip = make("span", "strip"), effect = make("span", "effect");
  box.type = "checkbox"; image.alt = ""; image.draggable = false; image.hidden = true; strip.append(image);
  text.append(make("b", "", String(unit.unit)), make("span", "", ` ${unit.concept}`), make("span", "iou", unit.iou.toFixed(2)));
  box.setAttribute("aria-label", `Unit ${unit.unit}, ${unit.concept}, IoU ${unit.iou.toFixed(2)}`);
  box.addEventListener("change", () => { box.checked ? ticked.add(unit.unit) : ticked.delete(unit.unit); mark(); send(); });
  item.title = `Unit ${unit.unit}: agrees best with ${unit.concept}. Tick it to see the images without it.`;
  item.append(strip, box, text, effect);
  return { ...unit, item, box, image, effect };
};
const light = () => {
  for (const card of cards) {
    const strip = props.strips[card.unit];
    card.image.hidden = !strip;
    if (strip) card.image.src = strip;
  }
  root.dataset.lit = props.strips.length;
};
const percent = (share) => {
  const size = Math.abs(100 * share).toFixed(Math.abs(share) < 0.0995 ? 1 : 0);
  return `${+size ? (share > 0 ? "−" : "+") : ""}${size} %`;
};
// Without the unit: what goes has a minus, what comes a plus; ≈ stands before an estimate, and what may be chance is pale.
const weigh = () => {
  for (const card of cards) {
    const found = props.effects[card.unit], exact = found && found.low !== null;
    card.effect.hidden = !found;
    if (!found) continue;
    card.effect.textContent = `Off: ${exact ? "" : "≈ "}${percent(found.share)} ${found.concept}`;
    card.effect.classList.toggle("pale", exact && found.low <= 0 && found.high >= 0);
    card.effect.title = exact
      ? `With this unit off, ${found.concept} changes by ${percent(found.share)} of its pixels (95 % interval: ${percent(found.low)} to ${percent(found.high)})`
      : "Estimated to first order";
  }
  root.dataset.weighed = props.effects.filter(Boolean).length;
  root.dataset.exact = props.effects.filter((each) => each && each.low !== null).length;
  // What people scroll through stays where it is, unless they asked for this order.
  if (order.value === "effect") arrange();
};
const build = () => {
  ticked.clear();
  for (const unit of props.ticked) ticked.add(unit);
  cards = props.units.map(cardOf);
  root.hidden = !cards.length;
  light(); weigh(); mark(); arrange();
  root.dataset.ready = "1";
};
const show = () => {
  note.textContent = props.note;
  wall.replaceChildren(...props.tiles.map((tile) => {
    const box = make("figure", "tile"), before = make("img"), after = make("img", "edited");
    for (const image of [before, after]) { image.alt = ""; image.draggable = false; }
    before.src = tile.image; after.hidden = !tile.after; if (tile.after) after.src = tile.after;
    box.append(before, after, make("span", "seed", tile.name));
    return box;
  }));
  root.dataset.edited = props.tiles.filter((tile) => tile.after).length; root.dataset.done = props.turn;
};
for (const [kind, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false]])
  wall.addEventListener(kind, () => root.classList.toggle("peek", on));
watch(named({ units: 0 }), build);
watch(named({ strips: 0 }), light);
watch(named({ effects: 0 }), weigh);
watch(Object.keys({ tiles: 0, note: 0, turn: 0 }), show);
build(); show();
