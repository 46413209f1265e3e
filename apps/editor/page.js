() => {
  // Says when the server that made this page is gone, or is another one: what it knew of the page went with it.
  // Gradio may reload the page before this script sees the new server, so the tab remembers which one it last saw.
  const SEEN = "rewrite-server";
  const GONE = "The editor does not answer: the program may have ended. Marks and rules are kept. Start it again.";
  const AGAIN = "The editor was started again. Marks and rules are as they were.";
  let mine = null, lost = false, leaving = false;
  const tell = (text, label, act) => {
    const note = document.getElementById("gone");
    if (!note || note.dataset.text === text) return;
    note.dataset.text = text; note.hidden = !text; note.textContent = text;
    if (!text) return;
    const button = document.createElement("button");
    button.type = "button"; button.textContent = label;
    button.addEventListener("click", act);
    note.append(" ", button);
  };
  const remembered = (token) => {
    try {
      const before = sessionStorage.getItem(SEEN);
      sessionStorage.setItem(SEEN, token);
      return before;
    } catch { return null; }
  };
  const answered = (token) => {
    if (mine !== null && mine !== token) { leaving = true; location.reload(); return; }
    if (lost) tell("");
    lost = false;
    if (mine !== null) return;
    mine = token;
    const before = remembered(token);
    if (before && before !== token) tell(AGAIN, "Go on", () => tell(""));
  };
  const ask = async () => {
    try {
      const answer = await fetch("/alive", { cache: "no-store" });
      answered(String(await answer.json()));
    } catch {
      lost = true;
      tell(GONE, "Reload the page", () => location.reload());
    }
    setTimeout(ask, 2000);
  };
  ask();
  // The figures of a price stay open when a newer price comes.
  let figures = false;
  document.addEventListener("toggle", (event) => {
    if (event.target.isConnected && event.target.closest?.("#price")) figures = event.target.open;
  }, true);
  new MutationObserver(() => {
    const latest = document.querySelector("#price details");
    if (figures && latest && !latest.open) latest.open = true;
  }).observe(document.body, { childList: true, subtree: true });
  window.addEventListener("beforeunload", (event) => {
    const unsaved = Number(document.querySelector("#rules .rules")?.dataset.unsaved ?? 0);
    if (unsaved && !leaving) event.preventDefault();
  });
}
