// Gradio ends the stream of answers once nothing is waited for, and opens another for the next event. An event that is
// accepted just after the end, and known here just before, would wait for answers on the stream that has ended, forever.
// So the page learns that an event was accepted only when the open stream speaks of it, or has ended.
(() => {
  const plain = window.fetch, ENDED = "close_stream", ID = /"event_id":"(\w+)"/g, TAIL = 64;
  // An answer may come before the page learns that its event was accepted, and on a stream before the present one.
  const heard = new Set();
  let stream = null;
  const follow = (answer) => {
    const mine = stream = { ended: false, waiting: [] };
    const text = new TextDecoder();
    let tail = "";
    const tell = () => mine.waiting.splice(0).forEach((go) => go());
    const end = () => setTimeout(() => { mine.ended = true; tell(); });  // once Gradio has taken note of it
    const passed = new TransformStream({
      transform: (chunk, out) => {
        const said = tail + text.decode(chunk, { stream: true });
        for (const [, id] of said.matchAll(ID)) heard.add(id);
        tail = said.slice(-TAIL);
        out.enqueue(chunk);
        if (said.includes(ENDED)) end(); else tell();
      },
      flush: end,
    });
    answer.body.pipeTo(passed.writable).catch(end);
    return new Response(passed.readable, answer);
  };
  const known = async (id, on) => {
    while (on && !on.ended && !heard.has(id)) await new Promise((go) => on.waiting.push(go));
  };
  window.fetch = async (target, options) => {
    const { pathname } = new URL(target.url ?? target, location), answer = await plain(target, options);
    if (!answer.ok || !answer.body) return answer;
    if (pathname.endsWith("/queue/data")) return follow(answer);
    if (pathname.endsWith("/queue/join")) await known((await answer.clone().json()).event_id, stream);
    return answer;
  };
})();
