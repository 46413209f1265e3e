const titled = (name) => name[0].toUpperCase() + name.slice(1);
// One tile, large: before and after with a line between them that is drawn along, or side by side.
const closeup = () => {
  const box = make("dialog", "closeup"), stage = make("div", "stage"), name = make("h2");
  const before = make("img"), after = make("img", "edited"), line = make("span", "line");
  const wipe = make("input", "wipe");
  wipe.type = "range"; wipe.min = 0; wipe.max = 100; wipe.setAttribute("aria-label", "Line between before and after");
  const cut = (share) => { wipe.value = share; box.style.setProperty("--line", `${share}%`); };
  const beside = button("Side by side", "Side by side", () => {
    beside.setAttribute("aria-pressed", String(box.classList.toggle("beside")));
  }, "tool");
  const close = button("Close", "Close", () => box.close(), "tool");
  const foot = make("div", "foot"), label = make("label", "slide", "Before");
  label.append(wipe, make("span", "", "After"));
  foot.append(label, beside, close);
  before.alt = "before"; after.alt = "after"; before.draggable = after.draggable = false;
  stage.append(before, after, line);
  box.append(name, stage, foot);
  box.setAttribute("aria-label", "One image, large");
  wipe.addEventListener("input", () => cut(wipe.value));
  const follow = (event) => {
    const frame = stage.getBoundingClientRect();
    cut(Math.round(Math.min(100, Math.max(0, 100 * (event.clientX - frame.left) / frame.width))));
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); follow(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  const open = (tile) => {
    const edited = !tile.edited.hidden;
    name.textContent = titled(tile.name);
    before.src = tile.before.src; after.hidden = line.hidden = !edited;
    if (edited) after.src = tile.edited.src;
    wipe.disabled = beside.disabled = !edited;
    if (!edited) { box.classList.remove("beside"); beside.setAttribute("aria-pressed", "false"); }
    cut(50);
    box.showModal();
  };
  return { box, open };
};
// The wall as a picture: before, and beside it after if anything is edited.
const LEAST_SIDE = 128, GAP = 4;
const picture_of = (tiles, columns) => {
  const natural = tiles[0].before.naturalWidth, side = natural * Math.ceil(LEAST_SIDE / natural), step = side + GAP;
  const halves = tiles.some((tile) => !tile.edited.hidden) ? 2 : 1, width = columns * step + 2 * GAP;
  const paper = make("canvas");
  paper.width = halves * width - GAP; paper.height = Math.ceil(tiles.length / columns) * step + GAP;
  const pen = paper.getContext("2d");
  pen.fillStyle = "#fff"; pen.fillRect(0, 0, paper.width, paper.height);
  tiles.forEach((tile, i) => {
    const x = GAP + (i % columns) * step, y = GAP + Math.floor(i / columns) * step;
    pen.drawImage(tile.before, x, y, side, side);
    if (halves === 2) pen.drawImage(tile.edited.hidden ? tile.before : tile.edited, x + width, y, side, side);
  });
  return paper;
};
const download = (paper, name) => paper.toBlob((blob) => {
  const link = make("a");
  link.href = URL.createObjectURL(blob); link.download = name; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}, "image/png");
