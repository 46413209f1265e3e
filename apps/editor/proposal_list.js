const root = element.querySelector(".proposals");
const MOST = 20;
let turn = 0, requests = [];
// While the server works, only the last event waits: it carries the requests before it too, and the server knows which it did.
const ask = (what) => {
  for (const item of list.children) if (what.index === undefined || item.dataset.seed === String(what.index)) item.remove();
  count();
  requests = [...requests, { ...what, turn: ++turn }].slice(-MOST);
  props.value = { requests };
  trigger("input");
};
const head = make("div", "head"), told = make("p"), list = make("ul");
head.append(button("✓ Accept all", "Accept all proposals (key Y accepts the first, N refuses it)", () => ask({ do: "accept_all" })),
            button("✗ Refuse all", "Refuse all proposals", () => ask({ do: "refuse_all" })));
root.replaceChildren(told, head, list);

const card = (found) => {
  const item = make("li"), image = make("img"), text = make("span"), tools = make("div", "tools");
  const places = found.places === 1 ? "1 place" : `${found.places} places`;
  image.src = found.image; image.draggable = false; image.alt = `Seed ${found.seed}, ${places} outlined`;
  text.textContent = `seed ${found.seed}: ${places}${found.marked ? ", beside your marks" : ""}`;
  // An answered card goes at once; the server follows.
  const answer = (act) => () => ask({ do: act, index: found.seed });
  tools.append(button("✓ Accept", `Accept seed ${found.seed}`, answer("accept")),
               button("✗ Refuse", `Refuse seed ${found.seed}`, answer("refuse")));
  item.dataset.seed = found.seed;
  item.append(image, text, tools);
  return item;
};
// One key answers the first card, wherever the focus is but in a field for text, unless it answered a tile of the wall:
// the wall listens on the document, and comes before this whichever of the two was made first.
window.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox])");
  const choice = { y: 0, n: 1 }[event.key.toLowerCase()];
  if (choice === undefined || writing || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!root.isConnected || !root.offsetParent || root.hidden) return;
  list.querySelector("li:not([hidden])")?.querySelectorAll(".tools button")[choice].click();
});
// An image that is on the wall has its places there.
const count = () => {
  const all = [...list.children];
  for (const item of all) item.hidden = !!document.querySelector(`#wall .tile[data-seed="${item.dataset.seed}"]`);
  const left = all.filter((item) => !item.hidden).length, images = (many) => `${many} image${many === 1 ? "" : "s"}`;
  told.textContent = `${images(all.length)} with proposed places`
    + (left < all.length ? ", outlined on the wall" : "") + (left && left < all.length ? `; ${images(left)} without room there:` : "");
  root.hidden = !all.length; list.hidden = !left; root.dataset.proposals = all.length;
};
document.addEventListener(answered, (event) => { if (root.isConnected) ask(event.detail); });
document.addEventListener(walled, () => { if (root.isConnected) count(); });
const show = () => { list.replaceChildren(...props.proposals.map(card)); count(); root.dataset.ready = "1"; };
watch(named({ proposals: 0 }), show);
show();
