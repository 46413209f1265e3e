const root = element.querySelector(".wall");
const PAPER = 256, MOST_UNDO = 100;
let SIDE = props.side;
const roles = props.roles, number = Object.fromEntries(roles.map((role, i) => [role.name, i + 1]));
const colours = roles.map((role) => [1, 3, 5].map((at) => parseInt(role.colour.slice(at, at + 2), 16)));
const state = { role: 1, size: 1, maps: new Map(), past: [], next: [], heat: false, moves: false,
                tiles: [], offered: new Map(), stroke: null, version: 0, share: 100 };

// Small things --------------------------------------------------------------------------------------------------------
const tool = (text, help, act, name = "tool") => button(text, help, act, name);
const sign = (name, letter) => { const made = make("span", name); made.dataset.letter = letter; return made; };
const sketch = document.createElement("canvas");
const map = (seed) => {
  if (!state.maps.has(seed)) state.maps.set(seed, new Uint8Array(SIDE * SIDE));
  return state.maps.get(seed);
};
const runs = (labels, role) => {
  const found = [];
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] !== role) continue;
    const first = i;
    while (i < labels.length && labels[i] === role) i++;
    found.push([first, i - first]);
  }
  return found;
};
const marks = () => [...state.maps].flatMap(([seed, labels]) => roles.flatMap((role, i) => {
  const found = runs(labels, i + 1);
  return found.length ? [{ seed, role: role.name, runs: found }] : [];
}));
const send = () => {
  props.value = { marks: marks(), heat: state.heat };
  trigger("input");
};
const take = (given) => {
  state.maps.clear();
  for (const mark of given) {
    const labels = map(mark.seed), role = number[mark.role];
    if (role) for (const [first, length] of mark.runs) labels.fill(role, first, first + length);
  }
  paint();
};

// Painting ------------------------------------------------------------------------------------------------------------
const draw = (tile) => {
  const labels = state.maps.get(tile.seed), paper = tile.canvas.getContext("2d");
  paper.clearRect(0, 0, PAPER, PAPER);
  const marked = [];
  if (labels) {
    const image = new ImageData(SIDE, SIDE), sums = roles.map(() => [0, 0, 0]);
    for (let i = 0; i < labels.length; i++) {
      const role = labels[i];
      if (!role) continue;
      const x = i % SIDE, y = (i - x) / SIDE, sum = sums[role - 1];
      sum[0]++; sum[1] += x; sum[2] += y;
      const edge = (x > 0 && labels[i - 1] !== role) || (x < SIDE - 1 && labels[i + 1] !== role)
        || (y > 0 && labels[i - SIDE] !== role) || (y < SIDE - 1 && labels[i + SIDE] !== role);
      image.data.set([...colours[role - 1], edge ? 255 : 105], 4 * i);
    }
    sketch.getContext("2d").putImageData(image, 0, 0);
    paper.imageSmoothingEnabled = false;
    paper.drawImage(sketch, 0, 0, PAPER, PAPER);
    sums.forEach(([count, x, y], i) => {
      if (!count) return;
      marked.push(roles[i].label);
      paper.font = "bold 34px system-ui, sans-serif"; paper.textAlign = "center"; paper.textBaseline = "middle";
      paper.lineWidth = 7; paper.strokeStyle = "#000c"; paper.fillStyle = "#fff";
      const at = [(x / count + 0.5) * PAPER / SIDE, (y / count + 0.5) * PAPER / SIDE];
      paper.strokeText(roles[i].letter, ...at); paper.fillText(roles[i].letter, ...at);
    });
  }
  const proposed = state.offered.get(tile.seed);
  if (proposed) trace(paper, proposed, PAPER / SIDE);
  if (tile.at) {
    paper.lineWidth = 2; paper.strokeStyle = "#000";
    const circle = () => { paper.beginPath();
      paper.arc(...tile.at.map((each) => each * PAPER / SIDE), state.size * PAPER / SIDE, 0, 7); paper.stroke(); };
    circle(); paper.setLineDash([6, 6]); paper.strokeStyle = "#fff"; circle(); paper.setLineDash([]);
  }
  tile.box.setAttribute("aria-label", `${titled(tile.name)}, ${marked.length ? "marked: " + marked.join(", ") : "no marks"}`
    + (proposed ? ", proposed places outlined: accept with Y, refuse with N" : ""));
};
const paint = () => { state.tiles.forEach(draw); undo.disabled = !state.past.length; redo.disabled = !state.next.length;
                      clear.disabled = !marks().length; };
const disk = (labels, x, y) => {
  const r = state.size, square = r * r + 0.25;
  for (let j = Math.max(0, Math.ceil(y - r - 0.5)); j < Math.min(SIDE, y + r); j++)
    for (let i = Math.max(0, Math.ceil(x - r - 0.5)); i < Math.min(SIDE, x + r); i++)
      if ((i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 <= square) labels[j * SIDE + i] = state.role;
};
// What lives on one tile leads on to the next role once another tile is brushed, unless it was chosen to be moved.
const has = (role) => [...state.maps.values()].some((labels) => labels.includes(role));
const leadOn = (tile) => {
  const role = state.role, next = roles[role];
  if (!role || !roles[role - 1].single || !next || state.moves || map(tile.seed).includes(role) || !has(role)) return;
  if (!next.single || !has(role + 1)) choose(role + 1);
};
const begin = (tile) => {
  leadOn(tile);
  const before = new Map([[tile.seed, map(tile.seed).slice()]]);
  // What lives on one tile moves to the tile that is brushed now.
  if (state.role && roles[state.role - 1].single) for (const [seed, labels] of state.maps) {
    if (seed === tile.seed || !labels.includes(state.role)) continue;
    before.set(seed, labels.slice());
    state.maps.set(seed, labels.map((each) => (each === state.role ? 0 : each)));
  }
  state.stroke = { tile, before, last: null };
};
const reach = (x, y) => {
  const { tile, last } = state.stroke, labels = map(tile.seed);
  const steps = last ? Math.max(1, Math.ceil(Math.hypot(x - last[0], y - last[1]) / Math.max(1, state.size / 2))) : 1;
  for (let k = 1; k <= steps; k++) {
    const t = k / steps;
    disk(labels, last ? last[0] + t * (x - last[0]) : x, last ? last[1] + t * (y - last[1]) : y);
  }
  state.stroke.last = tile.at = [x, y];
  draw(tile);
};
const keep = (before) => {
  state.past.push(before); state.next.length = 0;
  if (state.past.length > MOST_UNDO) state.past.shift();
};
const end = () => {
  if (!state.stroke) return;
  keep(state.stroke.before);
  state.stroke = null; state.moves = false;
  paint(); send();
};
const swap = (from, to) => {
  const before = from.pop();
  if (!before) return;
  to.push(new Map([...before.keys()].map((seed) => [seed, map(seed).slice()])));
  for (const [seed, labels] of before) state.maps.set(seed, labels.slice());
  paint(); send();
};
const wipeOut = () => {
  keep(new Map([...state.maps].map(([seed, labels]) => [seed, labels.slice()])));
  for (const labels of state.maps.values()) labels.fill(0);
  paint(); send();
};

// Tools ---------------------------------------------------------------------------------------------------------------
const bar = make("div", "bar"); bar.setAttribute("role", "toolbar"); bar.setAttribute("aria-label", "Brushes");
const brushes = roles.map((role, i) => {
  const made = tool("", `${role.label}: ${role.help} (key ${i + 1})`, () => choose(i + 1), "tool brush");
  made.append(sign("swatch", role.letter), make("span", "", role.label), sign("key", String(i + 1)));
  made.style.setProperty("--colour", role.colour);
  return made;
});
const eraser = tool("", "Eraser (key E)", () => choose(0), "tool brush");
eraser.append(make("span", "", "Eraser"), sign("key", "E"));
const size = make("input"); size.type = "range"; size.min = 1; size.max = 10;
size.setAttribute("aria-label", "Brush size"); size.title = "Brush size (keys [ and ])";
const sizeLabel = make("label", "slide", "Brush"); sizeLabel.append(size);
const resize = (value) => { state.size = Math.min(+size.max, Math.max(1, value)); size.value = state.size; paint(); };
size.addEventListener("input", () => resize(+size.value));
const undo = tool("↶ Undo", "Undo the last mark (Ctrl Z)", () => swap(state.past, state.next));
const redo = tool("↷ Redo", "Redo the mark (Ctrl Y)", () => swap(state.next, state.past));
const clear = tool("Clear", "Take all marks away", wipeOut);
const wipe = make("input"); wipe.type = "range"; wipe.min = 0; wipe.max = 100; wipe.value = 100;
wipe.setAttribute("aria-label", "Wipe between before and after"); wipe.className = "wipe";
const wipeLabel = make("label", "slide wiper", "Before"); wipeLabel.append(wipe, make("span", "", "After"));
const reveal = (share) => { state.share = share; root.style.setProperty("--cut", 100 - share + "%"); };
wipe.addEventListener("input", () => reveal(+wipe.value));
const heat = make("input"); heat.type = "checkbox";
const heatLabel = make("label", "check"); heatLabel.append(heat, make("span", "", props.heat_label));
heat.addEventListener("change", () => { state.heat = heat.checked; root.classList.toggle("heated", state.heat); send(); });
const veil = tool("Marks", "Show or hide the marks (key M)", () => fade(!root.classList.contains("faded")));
const fade = (on) => { root.classList.toggle("faded", on); veil.setAttribute("aria-pressed", String(!on)); };
const keepPicture = tool("PNG", "Download the wall as PNG", () =>
  download(picture_of(state.tiles, columns(state.tiles.length)), "wall.png"));
const large = closeup();
const choose = (role) => {
  state.role = role; state.moves = role > 0 && has(role);
  [eraser, ...brushes].forEach((made, i) => made.setAttribute("aria-pressed", String(i === role)));
  root.dataset.role = role ? roles[role - 1].name : "eraser";
};
const views = make("div", "bar views"); views.setAttribute("role", "toolbar"); views.setAttribute("aria-label", "View");
bar.append(...brushes, eraser, sizeLabel, undo, redo, clear);
views.append(wipeLabel, veil, keepPicture);
const film = tool("Animation", "Download the wall as an animation", () => document.querySelector("#animate").click());
if (props.heat_label) views.append(film, heatLabel);
const tools = make("div", "tools"); tools.append(bar, views);
const hint = make("p", "hint", "Brush on the images with mouse, pen or finger (two fingers scroll). By keyboard: arrows move "
  + "the brush, space paints, enter holds it down. Hold B to see the images before; M shows or hides the marks; ⤢ opens an image large.");
const sheet = make("div", "sheet"), progress = make("p", "progress"); progress.setAttribute("role", "status");
root.replaceChildren(tools, progress, sheet, hint, large.box);

// The tiles -----------------------------------------------------------------------------------------------------------
const place = (tile, event) => {
  const box = tile.canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
};
const picture = (name) => { const made = make("img", name); made.alt = ""; made.draggable = false; return made; };
const tileOf = ({ seed, name }) => {
  const tile = { seed, name, box: make("div", "tile"), before: picture("before"), edited: picture("edited"),
                 hot: picture("hot"), canvas: make("canvas"), at: null, down: false };
  tile.answers = answering(name, (act) => answer(tile, act));
  tile.canvas.width = tile.canvas.height = PAPER;
  tile.box.tabIndex = 0; tile.box.setAttribute("role", "group"); tile.box.dataset.seed = seed;
  const open = button("⤢", `Open ${name} large`, () => large.open(tile), "open");
  tile.box.append(tile.before, tile.edited, tile.hot, tile.canvas, make("span", "seed", name), open, tile.answers);
  tile.canvas.addEventListener("pointerdown", (event) => {
    if (event.button || state.stroke || !event.isPrimary) return;
    event.preventDefault(); tile.box.focus({ preventScroll: true });
    tile.canvas.setPointerCapture(event.pointerId);
    fade(false); begin(tile); reach(...place(tile, event));
  });
  tile.canvas.addEventListener("pointermove", (event) => {
    if (state.stroke?.tile === tile) for (const each of moves(event)) reach(...place(tile, each));
    else if (event.pointerType !== "touch") { tile.at = place(tile, event); draw(tile); }
  });
  for (const kind of ["pointerup", "pointercancel"]) tile.canvas.addEventListener(kind, end);
  tile.canvas.addEventListener("pointerleave", () => { if (!state.stroke) { tile.at = null; draw(tile); } });
  tile.box.addEventListener("focus", () => { if (tile.box.matches(":focus-visible")) { tile.at ??= [SIDE / 2, SIDE / 2]; draw(tile); } });
  tile.box.addEventListener("blur", () => { tile.at = null; if (state.stroke?.tile === tile) end(); draw(tile); });
  tile.box.addEventListener("keydown", (event) => walk(tile, event));
  tile.box.addEventListener("keyup", (event) => { if (event.key === " " && !tile.down) end(); });
  return tile;
};
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const walk = (tile, event) => {
  if (event.target !== tile.box) return;
  const step = event.shiftKey ? 1 : Math.max(1, state.size / 2), move = MOVES[event.key];
  if (move) {
    const from = tile.at ?? [SIDE / 2, SIDE / 2];
    tile.at = from.map((each, i) => Math.min(SIDE - 0.5, Math.max(0.5, each + move[i] * step)));
    if (state.stroke?.tile === tile) reach(...tile.at); else draw(tile);
  } else if (event.key === " " || event.key === "Enter") {
    tile.at ??= [SIDE / 2, SIDE / 2];
    if (event.key === "Enter" && tile.down) { tile.down = false; end(); }
    else if (!state.stroke) { fade(false); tile.down = event.key === "Enter"; begin(tile); reach(...tile.at); }
  } else return;
  event.preventDefault();
};
// The keys work wherever the page's focus is, but for where people write.
const writing = (target) => target.closest?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox])");
document.addEventListener("keydown", (event) => {
  if (!root.isConnected || !root.offsetParent || writing(event.target)) return;
  const key = event.key.toLowerCase(), role = Number(key);
  if ((event.ctrlKey || event.metaKey) && key === "z") event.shiftKey ? redo.click() : undo.click();
  else if ((event.ctrlKey || event.metaKey) && key === "y") redo.click();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (role >= 1 && role <= roles.length) choose(role);
  else if (key === "e") choose(0);
  else if (key === "[") resize(state.size - 1);
  else if (key === "]") resize(state.size + 1);
  else if (key === "b") root.classList.add("peek");
  else if (key === "m") veil.click();
  else if ((key === "y" || key === "n") && offering()) answer(offering(), key === "y" ? "accept" : "refuse");
  else return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") root.classList.remove("peek"); });

// What is proposed: a key answers the tile under the pointer or the focus, or else the first one.
const offering = () => {
  const left = state.tiles.filter((tile) => state.offered.has(tile.seed));
  return left.find((tile) => tile.box.matches(":focus-within")) ?? left.find((tile) => tile.box.matches(":hover")) ?? left[0];
};
const answer = (tile, act) => {
  const focused = tile.box.matches(":focus-within");
  state.offered.delete(tile.seed);
  suggest();
  tellAll(answered, { do: act, index: tile.seed });
  const next = offering();
  if (next && focused) next.box.focus({ preventScroll: true });
  next?.box.scrollIntoView({ block: "nearest" });
};
const suggest = () => {
  for (const tile of state.tiles) {
    const on = state.offered.has(tile.seed);
    tile.box.classList.toggle("offered", on); tile.answers.hidden = !on;
  }
  paint();
};
const propose = () => {
  state.offered = new Map(props.offered.map((each) => [each.seed, outline(each.runs, SIDE)]));
  if (state.offered.size) fade(false);
  suggest(); tellAll(walled);
};

// What comes from the server ------------------------------------------------------------------------------------------
const LEFT = "";
const show = (kind, urls) => {
  state.tiles.forEach((tile, i) => { if (urls[i]) tile[kind].src = urls[i];
                                     else if (urls[i] !== LEFT) tile[kind].removeAttribute("src");
                                     tile[kind].hidden = !tile[kind].hasAttribute("src"); });
  root.dataset[kind] = urls.filter(Boolean).length;
};
// A tile that is not drawn yet shows what it is going to look like, or nothing.
const roughen = () => {
  for (const tile of state.tiles) tile.box.classList.toggle("rough", props.rough.includes(tile.seed));
  progress.textContent = props.drawing; root.dataset.rough = props.rough.length;
};
const edit = () => { show("edited", props.after); wipe.disabled = state.tiles.every((tile) => tile.edited.hidden); };
const warm = () => show("hot", props.heat);
const columns = (count) => (count < 5 ? 2 : [4, 5, 6, 3].find((each) => count % each === 0) ?? 5);
const build = () => {
  const listed = (tiles) => tiles.map((each) => [each.seed, each.name]).join();
  if (listed(state.tiles) !== listed(props.tiles)) {
    state.tiles = props.tiles.map(tileOf);
    sheet.replaceChildren(...state.tiles.map((tile) => tile.box));
    sheet.style.setProperty("--columns", columns(state.tiles.length));
  }
  show("before", props.tiles.map((each) => each.image));
  edit(); warm(); roughen();
  suggest(); tellAll(walled);
  root.dataset.ready = "1";
};
watch(named({ tiles: 0 }), build);
watch(named({ after: 0 }), edit);
watch(named({ heat: 0 }), warm);
watch(named({ result: 0 }), () => fade(true));
watch(named({ offered: 0 }), propose);
watch(named({ rough: 0 }), roughen);
watch(named({ drawing: 0 }), roughen);
// Masks belong to one model: another one begins with those that the server keeps for it.
const start = () => {
  state.version = props.given.version;
  SIDE = props.side; sketch.width = sketch.height = SIDE;
  size.max = Math.round(SIDE / 6);
  state.maps.clear(); state.past.length = state.next.length = 0;
  resize(Math.max(1, Math.round(SIDE / 16)));
  take(props.given.marks);
  if (props.given.marks.length) send();
};
watch(named({ model: 0 }), start);
watch(named({ given: 0 }), () => {
  if (props.given.version === state.version) return;
  state.version = props.given.version;
  keep(new Map([...state.maps].map(([seed, labels]) => [seed, labels.slice()])));
  take(props.given.marks); send();
});
choose(1); fade(false); reveal(100); build(); start();
