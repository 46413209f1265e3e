// What the script of every component starts with.
// Gradio makes an event of every name that is quoted here, and sends what is watched twice where that is an event too.
const named = (what) => Object.keys(what)[0];
const make = (kind, name, text) => {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
};
const button = (text, help, act, name = "") => {
  const made = make("button", name, text);
  // The name that is read out holds the text that is seen.
  const seen = text.replace(/[^\p{L}\p{N} ]/gu, "").trim();
  const label = help.toLowerCase().includes(seen.toLowerCase()) ? help : `${seen}: ${help}`;
  made.type = "button"; made.title = help; made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
};
// The moves that a browser put together into one event; Firefox may give none for a single one.
const moves = (event) => { const all = event.getCoalescedEvents?.() ?? []; return all.length ? all : [event]; };
