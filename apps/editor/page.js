() => {
  // Says when the server that made this page is gone, or is another one: what it knew of the page went with it.
  let first = null;
  const told = (text, back) => {
    const note = document.getElementById("gone");
    if (!note || note.dataset.text === text) return;
    note.dataset.text = text; note.hidden = !text; note.textContent = text;
    if (!back) return;
    const button = document.createElement("button");
    button.type = "button"; button.textContent = "Reload the page";
    button.addEventListener("click", () => location.reload());
    note.append(" ", button);
  };
  const ask = async () => {
    try {
      const answer = await fetch("/alive", { cache: "no-store" });
      const token = await answer.json();
      first ??= token;
      if (token === first) told("", false);
      else told("The editor was started again, and has forgotten the rules of this page. Your marks are kept.", true);
    } catch {
      told("The editor does not answer: the program may have ended. Your marks are kept. Start it again, then reload.", true);
    }
    setTimeout(ask, 2000);
  };
  ask();
}
