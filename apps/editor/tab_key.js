(session) => {
  // What the server keeps of this browser tab is known by a random key, which the tab remembers when it is loaded again.
  const KEY = "rewrite-tab";
  try {
    const key = sessionStorage.getItem(KEY) ?? crypto.randomUUID();
    sessionStorage.setItem(KEY, key);
    return [session, key];
  } catch { return [session, ""]; }
}
