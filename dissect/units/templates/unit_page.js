// Cards of units: made when they come near the window, so that a page of thousands opens at once. Names come from
// outside: they are set as text and never as markup.
const AT_ONCE = 48;
const pick = (id) => document.getElementById(id);
const data = JSON.parse(pick("data").textContent);
const controls = ["layer", "sort", "concept", "kind", "find", "only"].map(pick);
const [layer, sort, concept, kind, find, only] = controls;
const holder = pick("units"), end = pick("end");
let one, wanted, chosen = [], drawn = 0;

// What is known of a unit ---------------------------------------------------------------------------------------------
function scores(of) {
  if (!of.iou) {
    const raw = atob(of.scores), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    of.iou = new Uint16Array(bytes.buffer);
  }
  return of.iou;
}
const agreement = (unit) =>
  wanted < 0 ? unit.pairs[0][1] : scores(one)[unit.unit * data.concepts.length + wanted] / 65535;
const name = (unit) => data.concepts[unit.pairs[0][0]][0];
const kindOf = (unit) => data.kinds[data.concepts[unit.pairs[0][0]][1]];
const number = (value) => value == null ? "–" : value.toFixed(3);
const byName = new Intl.Collator(undefined, { numeric: true }).compare;
const orders = {
  iou: (a, b) => agreement(b) - agreement(a),
  unit: (a, b) => a.unit - b.unit,
  q: (a, b) => a.pairs[0][4] - b.pairs[0][4] || agreement(b) - agreement(a),
  concept: (a, b) => byName(name(a), name(b)) || agreement(b) - agreement(a),
};

// A card --------------------------------------------------------------------------------------------------------------
function made(tag, text = "", style = "") {
  const found = document.createElement(tag);
  if (text !== "") found.textContent = text;
  if (style) found.className = style;
  return found;
}
function row(cells, tag) {
  const found = made("tr");
  found.append(...cells.map((cell) => made(tag, cell)));
  return found;
}
function table(unit) {
  const found = made("table");
  found.append(row(["concept", "IoU", "at most", "chance", "q"], "th"),
    ...unit.pairs.map(([which, ...rest]) => row([data.concepts[which][0], ...rest.map(number)], "td")));
  return found;
}
function card(unit) {
  const found = made("article", "", "unit" + (unit.sure ? "" : " weak"));
  const head = made("h3"), left = made("span"), dot = made("span", "", "dot"), image = made("img");
  const [which, iou, most, chance] = unit.pairs[0];
  Object.assign(found.dataset, { unit: unit.unit, concept: name(unit), iou, agreement: agreement(unit) });
  dot.style.background = data.colours[data.concepts[which][1]];
  left.append(dot, name(unit));
  head.append(left, made("i", "unit " + unit.unit));
  Object.assign(image, { decoding: "async", loading: "lazy", width: unit.size[0], height: unit.size[1],
    alt: "images " + unit.images.join(", "), src: "data:image/jpeg;base64," + unit.strip });
  const between = unit.low == null ? "" : ` (${number(unit.low)} to ${number(unit.high)})`;
  const limits = `at most ${number(most)}, by chance ${number(chance)}`;
  found.append(head, image, made("p", `IoU ${number(iou)}${between}, ${limits}`));
  if (wanted >= 0) found.append(made("p", `IoU ${number(agreement(unit))} with ${data.concepts[wanted][0]}`));
  const more = made("details");
  more.append(made("summary", `level ${unit.level ?? "none"}; other concepts`));
  more.addEventListener("toggle", () => { if (more.children.length < 2) more.append(table(unit)); });
  found.append(more);
  return found;
}

// Which cards stand on the page, and in which order -------------------------------------------------------------------
function draw() {
  holder.append(...chosen.slice(drawn, drawn + AT_ONCE).map(card));
  drawn = Math.min(drawn + AT_ONCE, chosen.length);
  end.hidden = drawn >= chosen.length;
}
function show() {
  one = data.layers.find((each) => each.layer === layer.value);
  wanted = +concept.value;
  const words = find.value.trim().toLowerCase().split(/[\s,]+/).filter(Boolean);
  const said = (unit) => words.some((word) => name(unit).toLowerCase().includes(word) || String(unit.unit) === word);
  const fits = (unit) => (!kind.value || kindOf(unit) === kind.value) && (!only.checked || unit.detects)
    && (!words.length || said(unit));
  chosen = one.units.filter(fits).sort(orders[sort.value]);
  drawn = 0;
  holder.replaceChildren();
  draw();
  pick("count").textContent = chosen.length + (chosen.length === 1 ? " unit" : " units");
  document.querySelectorAll(".of-layer").forEach((part) => { part.hidden = part.dataset.layer !== layer.value; });
}
controls.forEach((control) => control.addEventListener("input", show));
show();
new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) draw(); }, { rootMargin: "900px" })
  .observe(end);
document.documentElement.dataset.ready = "1";
