const root = element.querySelector(".rules");
const MOST = 20;
let turn = 0, rows = [], requests = [];
// While the server works, only the last event waits: it carries the requests before it too, and the server knows which it did.
const ask = (what) => {
  if (requests.at(-1)?.live && requests.at(-1).index === what.index) requests.pop();
  requests = [...requests, { ...what, turn: ++turn }].slice(-MOST);
  props.value = { requests };
  trigger("input");
};
const undo = button("↶ Undo", "Undo the last change of the rules", () => ask({ do: "undo" }));
const redo = button("↷ Redo", "Redo the change of the rules", () => ask({ do: "redo" }));
const head = make("div", "head"), list = make("ol"), empty = make("p", "soft", "No rule yet. Rewrite puts one here.");
head.append(make("h2", "", "Rules of this model"), undo, redo);
root.replaceChildren(head, list, empty);

const row = (index) => {
  const item = make("li"), on = make("input"), name = make("input", "name"), strength = make("input"), out = make("output");
  on.type = "checkbox"; name.type = "text"; name.maxLength = 60; strength.type = "range";
  strength.min = 0; strength.max = 2; strength.step = 0.05;
  on.addEventListener("change", () => ask({ do: "switch", index, to: on.checked }));
  name.addEventListener("change", () => ask({ do: "rename", index, to: name.value }));
  strength.addEventListener("input", () => { out.textContent = (+strength.value).toFixed(2);
                                             ask({ do: "strength", index, to: +strength.value, live: true }); });
  strength.addEventListener("change", () => ask({ do: "strength", index, to: +strength.value, live: false }));
  const label = make("label", "strength", "Strength");
  label.append(strength, out);
  const up = button("↑", "Move up", () => ask({ do: "move", index, to: index - 1 }));
  const down = button("↓", "Move down", () => ask({ do: "move", index, to: index + 1 }));
  const marks = button("Marks", "Show the marks of this rule", () => ask({ do: "marks", index }));
  const save = button("Save", "Save this rule as a file", () => ask({ do: "save", index }));
  const drop = button("Delete", "Delete this rule", () => ask({ do: "delete", index }));
  const top = make("div", "top"), tools = make("div", "tools");
  top.append(on, name);
  tools.append(up, down, marks, save, drop);
  item.append(top, label, tools);
  return { item, on, name, strength, out, up, down, marks, save };
};
const show = () => {
  while (rows.length < props.rules.length) { rows.push(row(rows.length)); list.append(rows.at(-1).item); }
  while (rows.length > props.rules.length) rows.pop().item.remove();
  props.rules.forEach((rule, i) => {
    const each = rows[i];
    each.on.checked = rule.on; each.on.setAttribute("aria-label", `${rule.name} counts`);
    if (document.activeElement !== each.name) each.name.value = rule.name;
    each.name.setAttribute("aria-label", `Name of rule ${i + 1}`);
    if (document.activeElement !== each.strength) each.strength.value = rule.strength;
    each.strength.setAttribute("aria-label", `Strength of ${rule.name}`);
    each.out.textContent = (+each.strength.value).toFixed(2); each.item.title = rule.about;
    each.up.disabled = i === 0; each.down.disabled = i === props.rules.length - 1;
    each.marks.disabled = each.save.disabled = !rule.rule;
    each.item.classList.toggle("off", !rule.on);
  });
  undo.disabled = !props.can_undo; redo.disabled = !props.can_redo;
  empty.hidden = props.rules.length > 0;
  root.dataset.rules = props.rules.length; root.dataset.unsaved = props.unsaved;
};
// A rule that was asked for as a file comes as a text: nothing of it lies on the server.
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
watch(Object.keys({ rules: 0, can_undo: 0, can_redo: 0, unsaved: 0 }), show);
show();
