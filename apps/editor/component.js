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
  made.type = "button"; made.title = help; made.setAttribute("aria-label", help);
  made.addEventListener("click", act);
  return made;
};
