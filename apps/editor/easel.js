const root = element.querySelector(".easel");
const PAPER = 512, MOST = 20;
let SIDE = props.side, turn = 0, requests = [], stroke = null, at = null;
const brush = { concept: "", action: "add", strength: 1, count: 15, size: 4, alone: true };
// While the server works, only the last event waits: it carries the requests before it too, and the server knows which it did.
const ask = (what) => {
  requests = [...requests, { ...what, turn: ++turn }].slice(-MOST);
  root.dataset.waiting = turn;
  props.value = { requests };
  trigger("input");
};
const tool = (text, help, act, name = "tool") => button(text, help, act, name);
const slider = (text, help, least, most, step, name, shown = (value) => value) => {
  const label = make("label", "slide", text), input = make("input"), out = make("output", "", shown(brush[name]));
  input.type = "range"; input.min = least; input.max = most; input.step = step; input.value = brush[name];
  input.setAttribute("aria-label", help); input.title = help;
  input.addEventListener("input", () => { brush[name] = +input.value; out.textContent = shown(brush[name]); draw(); });
  label.append(input, out);
  return { label, input, out };
};

// Tools ---------------------------------------------------------------------------------------------------------------
const concepts = make("div", "bar concepts"), bar = make("div", "bar"), tools = make("div", "bar");
concepts.setAttribute("role", "toolbar"); concepts.setAttribute("aria-label", "What to paint");
const choose = (concept) => {
  brush.concept = concept;
  for (const made of concepts.children) made.setAttribute("aria-pressed", String(made.textContent === concept));
};
const acts = { add: tool("Add", "Paint it (key A)", () => act("add")), remove: tool("Remove", "Take it away (key R)", () => act("remove")) };
const act = (action) => {
  brush.action = action; root.dataset.action = action;
  for (const [name, made] of Object.entries(acts)) made.setAttribute("aria-pressed", String(name === action));
};
const size = slider("Brush", "Brush size (keys [ and ])", 1, 12, 1, "size");
const strength = slider("Strength", "How far the units are moved", 0.1, 1, 0.05, "strength", (value) => value.toFixed(2));
const count = slider("Units", "How many units of the concept", 1, 40, 1, "count");
const undo = tool("↶ Undo", "Undo the last change (Ctrl Z)", () => ask({ do: "undo" }));
const redo = tool("↷ Redo", "Redo the change (Ctrl Y)", () => ask({ do: "redo" }));
const clear = tool("Clear", "Take all strokes away", () => ask({ do: "clear" }));
const peek = tool("Before", "Hold to see the image without strokes (key B)", () => {});
const download = tool("Download", "Save the picture", () => {
  const link = make("a");
  link.href = props.image;
  link.download = `${props.name || `seed-${props.seed}`}-painted.${props.image.startsWith("data:image/png") ? "png" : "jpg"}`;
  link.click();
});
const keep = tool("Save strokes", "Save the strokes as a file for rewrite paint", () => ask({ do: "save" }));
const alone = make("input"), aloneLabel = make("label", "slide");
alone.type = "checkbox"; alone.checked = true;
alone.addEventListener("change", () => { brush.alone = alone.checked; });
aloneLabel.append(alone, make("span", "", "Cover what is there"));
aloneLabel.title = "Where a concept is added, all other units go off";
bar.append(acts.add, acts.remove, size.label, strength.label, count.label, aloneLabel);
tools.append(undo, redo, clear, peek, download, keep);
const frame = make("div", "frame"), shown = make("img"), before = make("img", "before"), canvas = make("canvas");
const list = make("ol"), empty = make("p", "soft", "No stroke yet. Choose a concept and brush on the image.");
const side = make("div", "history");
const hint = make("p", "soft", "Mouse, pen or finger. By keyboard: arrows move the brush, space paints one dab.");
for (const image of [shown, before]) { image.alt = ""; image.draggable = false; }
canvas.width = canvas.height = PAPER; frame.tabIndex = 0; frame.setAttribute("role", "img");
frame.append(shown, before, canvas, make("span", "seed"));
side.append(make("h2", "", "Strokes"), empty, list);
const body = make("div", "body");
body.append(frame, side);
root.replaceChildren(concepts, bar, body, tools, hint);
const reveal = (on) => root.classList.toggle("peek", on);
peek.addEventListener("pointerdown", () => reveal(true));
for (const kind of ["pointerup", "pointerleave", "pointercancel"]) peek.addEventListener(kind, () => reveal(false));

// Brushing ------------------------------------------------------------------------------------------------------------
const draw = () => {
  const paper = canvas.getContext("2d"), scale = PAPER / SIDE;
  paper.clearRect(0, 0, PAPER, PAPER);
  if (stroke) {
    paper.fillStyle = brush.action === "add" ? "#2f7de199" : "#d9480f99";
    for (let i = 0; i < stroke.mask.length; i++)
      if (stroke.mask[i]) paper.fillRect((i % SIDE) * scale, Math.floor(i / SIDE) * scale, scale, scale);
  }
  if (at) {
    const circle = (colour, dash) => { paper.strokeStyle = colour; paper.setLineDash(dash); paper.lineWidth = 2.5;
      paper.beginPath(); paper.arc(at[0] * scale, at[1] * scale, brush.size * scale, 0, 7); paper.stroke(); };
    circle("#000", []); circle("#fff", [7, 7]);
  }
};
const disk = (x, y) => {
  const r = brush.size, square = r * r + 0.25;
  for (let j = Math.max(0, Math.ceil(y - r - 0.5)); j < Math.min(SIDE, y + r); j++)
    for (let i = Math.max(0, Math.ceil(x - r - 0.5)); i < Math.min(SIDE, x + r); i++)
      if ((i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 <= square) stroke.mask[j * SIDE + i] = 1;
};
const begin = () => { stroke = { mask: new Uint8Array(SIDE * SIDE), last: null }; };
const reach = (x, y) => {
  const last = stroke.last ?? [x, y];
  const steps = Math.max(1, Math.ceil(Math.hypot(x - last[0], y - last[1]) / Math.max(1, brush.size / 2)));
  for (let k = 0; k <= steps; k++) disk(last[0] + k / steps * (x - last[0]), last[1] + k / steps * (y - last[1]));
  stroke.last = at = [x, y];
  draw();
};
const end = () => {
  if (!stroke) return;
  const runs = [], mask = stroke.mask;
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const first = i;
    while (i < mask.length && mask[i]) i++;
    runs.push([first, i - first]);
  }
  const { concept, action, strength, count, alone } = brush;
  stroke = null;
  draw();
  if (runs.length && concept) ask({ do: "stroke", runs, concept, action, strength, count, alone });
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
};
canvas.addEventListener("pointerdown", (event) => {
  if (event.button || stroke || !event.isPrimary) return;
  event.preventDefault(); frame.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  begin(); reach(...place(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (stroke) for (const each of moves(event)) reach(...place(each));
  else if (event.pointerType !== "touch") { at = place(event); draw(); }
});
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, end);
canvas.addEventListener("pointerleave", () => { if (!stroke) { at = null; draw(); } });
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
frame.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  at ??= [SIDE / 2, SIDE / 2];
  if (move) at = at.map((each, i) => Math.min(SIDE - 0.5, Math.max(0.5, each + move[i] * Math.max(1, brush.size / 2))));
  else if (event.key === " ") { begin(); reach(...at); end(); }
  else return;
  event.preventDefault(); draw();
});
const writing = (target) => target.closest?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox])");
document.addEventListener("keydown", (event) => {
  if (!root.isConnected || !root.offsetParent || writing(event.target)) return;
  const key = event.key.toLowerCase(), held = event.ctrlKey || event.metaKey;
  if (held && key === "z") event.shiftKey ? redo.click() : undo.click();
  else if (held && key === "y") redo.click();
  else if (held || event.altKey) return;
  else if (key === "a") act("add");
  else if (key === "r") act("remove");
  else if (key === "b") reveal(true);
  else if (key === "[" || key === "]") {
    size.input.value = brush.size + (key === "]" ? 1 : -1); size.input.dispatchEvent(new Event("input"));
  } else return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") reveal(false); });

// What comes from the server ------------------------------------------------------------------------------------------
const show = () => {
  shown.src = props.image; before.src = props.before;
  frame.querySelector(".seed").textContent = props.name || `seed ${props.seed}`;
  frame.setAttribute("aria-label", `${props.name || `Seed ${props.seed}`}, ${props.history.length} strokes`);
  if (props.name) { peek.title = "Hold to see the picture before (key B)"; peek.setAttribute("aria-label", peek.title); }
  list.replaceChildren(...props.history.map((text, index) => {
    const item = make("li");
    item.append(make("span", "", text), tool("×", `Remove stroke ${index + 1}: ${text}`, () => ask({ do: "remove", index }), "drop"));
    return item;
  }));
  undo.disabled = !props.can_undo; redo.disabled = !props.can_redo;
  clear.disabled = !props.history.length; empty.hidden = props.history.length > 0;
  root.dataset.strokes = props.history.length; root.dataset.done = props.turn;
};
const build = () => {
  SIDE = props.side; root.hidden = !props.concepts.length;
  concepts.replaceChildren(...props.concepts.map((name) => tool(name, `Paint with ${name}`, () => choose(name))));
  choose(props.concepts.includes(brush.concept) ? brush.concept : props.first || (props.concepts[0] ?? ""));
  if (props.concepts.length) { count.input.max = props.most; brush.count = Math.min(brush.count, props.most); }
  size.input.max = Math.max(4, Math.round(SIDE / 5));
  size.input.value = brush.size = Math.max(1, Math.round(SIDE / 9)); size.out.textContent = brush.size;
  draw(); show();
  root.dataset.ready = "1";
};
let given = "";
watch(named({ file: 0 }), () => {
  if (!props.file || props.file.turn === given) return;
  given = props.file.turn;
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([props.file.text], { type: "application/json" }));
  link.download = props.file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
watch(Object.keys({ image: 0, history: 0, can_undo: 0, can_redo: 0, turn: 0 }), show);
watch(named({ concepts: 0 }), build);
act("add"); build();
