const root = element.querySelector(".proposals");
const MOST = 20;
let turn = 0, requests = [];
// While the server works, only the last event waits: it carries the requests before it too, and the server knows which it did.
const ask = (what) => {
  requests = [...requests, { ...what, turn: ++turn }].slice(-MOST);
  props.value = { requests };
  trigger("input");
};
const head = make("div", "head"), list = make("ul");
head.append(button("✓ Accept all", "Accept all proposals (key Y accepts the first, N refuses it)", () => ask({ do: "accept_all" })),
            button("✗ Refuse all", "Refuse all proposals", () => ask({ do: "refuse_all" })));
root.replaceChildren(head, list);

const card = (found) => {
  const item = make("li"), image = make("img"), text = make("span"), tools = make("div", "tools");
  const places = found.places === 1 ? "1 place" : `${found.places} places`;
  image.src = found.image; image.draggable = false; image.alt = `Seed ${found.seed}, ${places} outlined`;
  text.textContent = `seed ${found.seed}: ${places}${found.marked ? ", beside your marks" : ""}`;
  // An answered card goes at once; the server follows.
  const answer = (act) => () => { item.remove(); count(); ask({ do: act, index: found.seed }); };
  tools.append(button("✓ Accept", `Accept seed ${found.seed}`, answer("accept")),
               button("✗ Refuse", `Refuse seed ${found.seed}`, answer("refuse")));
  item.dataset.seed = found.seed;
  item.append(image, text, tools);
  return item;
};
// One key answers the first card, wherever the focus is but in a field for text.
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox])");
  const answered = { y: 0, n: 1 }[event.key.toLowerCase()];
  if (answered === undefined || writing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!root.isConnected || !root.offsetParent || root.hidden) return;
  list.querySelector("li")?.querySelectorAll(".tools button")[answered].click();
});
const count = () => { root.hidden = !list.children.length; root.dataset.proposals = list.children.length; };
const show = () => { list.replaceChildren(...props.proposals.map(card)); count(); root.dataset.ready = "1"; };
watch(named({ proposals: 0 }), show);
show();
