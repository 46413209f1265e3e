const root = element.querySelector(".board");
// The question as it is being changed; the server's answer puts it in order.
let asked = null, order = "lights", cards = 0, find = null, turn = 0, saved = 0, looked = null;
const FIRST = 12, MORE = 12, MOST = 96;
const query = () => {
  const found = new URLSearchParams(), given = new URLSearchParams(props.link);
  for (const name of ["model", "pictures"]) if (given.has(name)) found.set(name, given.get(name));
  found.set("layer", asked.layer); found.set("class", asked.class);
  if (asked.off.length) found.set("off", asked.off.join(","));
  for (const name of ["of", "named"]) if (asked[name] !== null) found.set(name, asked[name]);
  for (const each of asked.lit) found.append("lit", each);
  if (asked.only !== null) found.set("only", asked.only.join(","));
  if (asked.at !== null) found.set("at", asked.at);
  return found.toString();
};
const send = (what = "ask") => {
  root.dataset.waiting = ++turn;
  root.classList.add("waiting");
  props.value = { query: query(), do: what, order, cards, find, turn };
  trigger("input");
};
const change = (changes) => { Object.assign(asked, changes); draw(); send(); };
const toggled = (list, each) => list.includes(each) ? list.filter((other) => other !== each) : [...list, each];
const field = (text, control) => {
  const made = make("label", "field");
  made.append(make("span", "", text), control);
  return made;
};
const choice = (name, options, chosen, act) => {
  const made = make("select", name);
  for (const [value, text] of options) {
    const option = make("option", "", text);
    option.value = value; option.selected = value === chosen;
    made.append(option);
  }
  made.addEventListener("change", () => act(made.value));
  return made;
};
const chip = (text, help, act) => button(`${text} ×`, help, act, "chip");
const heading = (number, text, hint) => {
  const made = make("header");
  made.append(make("h2", "", `${number}. ${text}`), make("p", "soft", hint));
  return made;
};
// Each part of the board is drawn anew; what had the focus gets it back.
const keep = (work) => {
  const name = document.activeElement?.closest?.(".board") ? document.activeElement.dataset.key : null;
  work();
  if (name) root.querySelector(`[data-key="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
};
const keyed = (made, key) => { made.dataset.key = key; return made; };
const ANY = "";
const pictures = make("section", "which"), units = make("section", "units-off"), tell = make("p", "refused");
tell.setAttribute("role", "alert");
root.replaceChildren(tell, pictures, units);

const drawPictures = () => {
  const names = props.classes.map((name) => [name, name]);
  const row = make("div", "row");
  const layers = props.layers.map((part) => [part.name, `${part.name} (${part.units} units)`]);
  const others = asked.of !== null && asked.of !== asked.class;
  row.append(
    field("Class", keyed(choice("class", names, asked.class, (name) => {
      cards = FIRST; find = null;
      change({ class: name, of: asked.of === null ? null : name, named: null, lit: [], only: null, at: null });
    }), "class")),
    field("Layer", keyed(choice("layer", layers, asked.layer, (name) => {
      cards = FIRST; find = null;
      change({ layer: name, off: [], lit: [], at: asked.at });
    }), "layer")),
  );
  const which = make("div", "row");
  const kinds = [["of", `All pictures of ${asked.class}`], ["any", "Pictures of all classes"], ...(others ? [["other", `Pictures of ${asked.of}`]] : [])];
  const kind = asked.of === null ? "any" : others ? "other" : "of";
  which.append(
    field("Pictures", keyed(choice("of", kinds, kind, (value) => change({ of: value === "any" ? null : asked.class })), "of")),
    field("Named", keyed(choice("named", [[ANY, "anything"], ...names], asked.named ?? ANY, (name) => change({ named: name === ANY ? null : name })), "named")),
  );
  const only = make("div", "chips");
  for (const each of asked.lit) {
    const [, unit, sign, level] = each.match(/^(\d+)([<>])(.*)$/);
    const text = sign === ">" ? `lights unit ${unit}` : `does not light unit ${unit}`;
    const flipped = `${unit}${sign === ">" ? "<" : ">"}${level}`;
    const swap = button("⇄", `The other pictures: those that ${sign === ">" ? "do not light" : "light"} unit ${unit}`, () =>
      change({ lit: asked.lit.map((other) => other === each ? flipped : other) }), "chip");
    only.append(chip(text, `Drop the condition on unit ${unit} (level ${(+level).toPrecision(3)})`, () =>
      change({ lit: asked.lit.filter((other) => other !== each) })), keyed(swap, `swap ${unit}`));
  }
  if (asked.only !== null) only.append(chip(`${asked.only.length} picked by hand`, "Take all pictures again", () => change({ only: null })));
  if (asked.at !== null) {
    only.append(chip(`looking at picture ${asked.at}`, "Look at all pictures again", () => change({ at: null })));
    const inside = asked.only?.includes(asked.at);
    const pick = () => {
      const left = inside ? asked.only.filter((other) => other !== asked.at) : [...(asked.only ?? []), asked.at];
      change({ only: left.length ? left : null });
    };
    only.append(keyed(button(inside ? "Drop this picture" : "Pick this picture", inside ? "Ask about the others only" : "Ask about pictures that are picked by hand", pick), "pick"));
  }
  const parts = make("div", "chips");
  if (props.offers === null) {
    parts.append(keyed(button("Find parts of this class", "Look for pictures of the class that one unit lights for, and for the units without which just these are lost", () => send("look")), "look"));
  } else if (props.offers.length) {
    parts.append(make("span", "soft", "Parts of this class, with the units that each needs:"));
    for (const each of props.offers) {
      parts.append(keyed(button(each.text, `${each.text}: ask about these, with ${each.off.length === 1 ? "unit" : "units"} ${each.off.join(", ")} off`, () =>
        change({ of: asked.class, named: null, lit: [each.lit], only: null, at: null, off: [...each.off] })), each.lit));
    }
  } else {
    parts.append(make("span", "soft", "No unit of this layer tells a part of this class from the rest."));
  }
  pictures.replaceChildren(heading(1, "Which pictures?", "Choose a class, and all or some of its pictures."), row, which, only, parts);
};
const percent = (share) => `${share > 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;
const cardOf = (unit) => {
  const item = make("div", "unit"), off = make("label", "off"), box = make("input"), strip = make("div", "strip");
  const on = asked.off.includes(unit.unit), text = make("span");
  box.type = "checkbox"; box.checked = on; keyed(box, `unit ${unit.unit}`);
  box.setAttribute("aria-label", `Unit ${unit.unit} off`);
  box.addEventListener("change", () => change({ off: toggled(asked.off, unit.unit) }));
  text.append(make("b", "", `Unit ${unit.unit}`), on ? " is off" : " off");
  off.append(box, text);
  unit.tiles.forEach((tile, place) => {
    const image = make("img", place ? "" : "own");
    image.src = tile; image.draggable = false;
    image.alt = place ? "" : `where unit ${unit.unit} is active`;
    strip.append(image);
  });
  const figures = make("p", "figures");
  const lights = make("span", "", `lights ${unit.lights >= 0 ? "+" : "−"}${Math.abs(unit.lights).toFixed(1)} sd`);
  lights.title = `Its peak ${asked.at === null ? "in these pictures" : "in this picture"} lies ${Math.abs(unit.lights).toFixed(1)} standard deviations ${unit.lights >= 0 ? "above" : "below"} that in all pictures`;
  const matters = make("span", "", `off: ≈ ${percent(unit.matters)}`);
  matters.title = `Without it, the balanced accuracy of ${asked.class} changes by about this much, softly counted: a guess by one gradient`;
  figures.append(lights, matters);
  const condition = unit.lit, there = asked.lit.includes(condition);
  const only = keyed(button(there ? "these only ✓" : "these only", `Only pictures that light unit ${unit.unit}`, () =>
    change({ lit: toggled(asked.lit, condition), only: null }), "only"), `only ${unit.unit}`);
  only.setAttribute("aria-pressed", there);
  item.classList.toggle("on", on);
  item.append(off, only, strip, figures);
  return item;
};
const drawUnits = () => {
  const off = make("div", "chips"), few = props.suggested.slice(0, 4);
  for (const unit of asked.off) off.append(chip(`${unit}`, `Unit ${unit} on again`, () => change({ off: asked.off.filter((other) => other !== unit) })));
  if (asked.off.length) off.append(keyed(button("All on", "All units on again", () => change({ off: [] })), "all on"));
  const ready = make("div", "chips"), most = asked.layer && props.suggested.length;
  if (most) ready.append(keyed(button("4 that matter most", `Units ${few.join(", ")} off, which matter most for ${asked.class} by a guess on other pictures`, () => change({ off: [...few] })), "few"));
  if (most > 4) ready.append(keyed(button(`${most} that matter most`, `${most} units off, which matter most for ${asked.class}`, () => change({ off: [...props.suggested] })), "more"));
  const tools = make("div", "row"), orders = [["lights", asked.at === null ? "What lights in these pictures" : "What lights in this picture"], ["matters", `What matters for ${asked.class}`], ["number", "By number"]];
  const number = keyed(make("input"), "find");
  number.type = "number"; number.min = 0; number.value = find ?? ""; number.placeholder = "number";
  number.addEventListener("change", () => { find = number.value === "" ? null : Math.trunc(+number.value); send(); });
  tools.append(field("Show first", keyed(choice("sorting", orders, order, (value) => { order = value; send(); }), "sorting")), field("Find a unit", number));
  const sheet = make("div", "cards");
  sheet.tabIndex = 0; sheet.setAttribute("role", "group"); sheet.setAttribute("aria-label", "Units");
  sheet.append(...props.units.map(cardOf));
  const whole = props.layers.find((part) => part.name === asked.layer)?.units ?? 0, more = make("div", "chips");
  if (props.units.length < Math.min(whole, MOST)) more.append(keyed(button("More units", `${props.units.length} of ${whole} are shown`, () => { cards = Math.min(MOST, cards + MORE); send(); }), "more units"));
  more.append(make("span", "soft", `${props.units.length} of ${whole} units. The first picture of each is ${asked.at === null ? "the one of yours that lights it most" : "the one that you look at"}, the others are those that light it most of all. Lights: by how many standard deviations more than in all pictures. Off: what ${asked.class} would lose without it alone, by a guess.`));
  const scrolled = units.querySelector(".cards")?.scrollLeft ?? 0;
  units.replaceChildren(heading(2, "Which units are off?", "Tick units, or begin with those that matter most."), ready, off, tools, sheet, more);
  sheet.scrollLeft = scrolled;
};
const draw = () => {
  root.hidden = !asked;
  if (asked) keep(() => { drawPictures(); drawUnits(); });
};
const save = (file) => {
  const bytes = Uint8Array.from(atob(file.content), (each) => each.charCodeAt(0)), link = make("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: file.type }));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
const show = () => {
  tell.textContent = props.refused ? `${props.refused}.` : ""; tell.hidden = !props.refused;
  // What was changed meanwhile is on its way: an older answer must not undo it.
  if (props.question && props.turn >= turn) {
    asked = structuredClone({ ...props.question });
    order = props.order; cards = Math.max(FIRST, props.units.length);
    draw();
    const kept = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith("__"));
    const query = [new URLSearchParams(kept).toString(), props.link].filter(Boolean).join("&");
    if (query && !props.refused) history.replaceState(history.state, "", `?${query}`);
  }
  if (props.turn >= turn) root.classList.remove("waiting");
  if (props.file && props.turn > saved) { saved = props.turn; save(props.file); }
  // The picture that was chosen has been drawn anew: it gets the focus back.
  if (looked !== null && props.turn >= turn) setTimeout((number) => {
    if (document.activeElement === document.body) document.querySelector(`#answer [data-look="${number}"]`)?.focus({ preventScroll: true });
  }, 100, looked);
  if (props.turn >= turn) looked = null;
  root.dataset.ready = asked ? "1" : "0"; root.dataset.done = props.turn;
};
const copied = async (copy) => {
  try { await navigator.clipboard.writeText(location.href); copy.textContent = "Copied"; }
  catch { copy.textContent = "It is this page's address"; }
};
// The answer stands in another part of the page.
document.addEventListener("click", (event) => {
  const kept = event.target.closest?.("#answer [data-do]");
  if (kept && asked) kept.dataset.do === "copy" ? copied(kept) : send(kept.dataset.do);
  const chosen = event.target.closest?.("#answer [data-look]");
  if (!chosen || !asked) return;
  const number = Number(chosen.dataset.look);
  looked = number;
  change({ at: asked.at === number ? null : number });
});
let waits = 0;
const later = () => { clearTimeout(waits); waits = setTimeout(show); };
watch(Object.keys({ question: 0, units: 0, offers: 0, refused: 0, link: 0, file: 0, turn: 0 }), later);
root.dataset.waiting = 0;
show();
