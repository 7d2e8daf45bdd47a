// What waits until the page has been seen: what lies below its verdict, as text in noscript elements, is put in place; then its
// scripts run, which lie packed in elements that run nothing, and whose hashes the page's policy knows.
"use strict";
(() => {
  const turn = () => new Promise((done) => setTimeout(done)); // each in a task of its own, so that a key or a click is heard between them
  const frame = () => new Promise((done) => { // the next one, or soon where none comes: a page that nobody sees is drawn by nobody
    requestAnimationFrame(done);
    setTimeout(done, 200);
  });
  const later = () => document.querySelector("noscript[data-later]");
  const put = (section) => { section.outerHTML = section.textContent; };
  function putAll() {
    for (let section = later(); section; section = later()) put(section);
    for (const section of document.querySelectorAll("main > section")) section.classList.add("laid"); // so that a place is where it stays
  }
  async function unpacked(text) {
    const characters = atob(text), bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  async function start() {
    if (later()) put(later()); // what the first screen holds besides
    await frame();
    await turn();
    for (let section = later(); section; section = later()) {
      put(section);
      await turn();
    }
    for (const element of document.querySelectorAll("script[data-packed]")) {
      const text = await unpacked(element.textContent);
      await turn();
      if (element.dataset.packed === "run") {
        const script = document.createElement("script");
        script.textContent = text;
        element.replaceWith(script);
      } else {
        element.textContent = text;
        element.removeAttribute("data-packed");
      }
      await turn();
    }
  }
  if (!("DecompressionStream" in self)) {
    putAll();
    document.getElementById("old-browser").hidden = false;
    return;
  }
  // A place that an address or a link names, the page as it was left, paper: what these ask for is put in place at once.
  const lacks = (hash) => hash && !document.getElementById(hash.slice(1));
  const [visit] = performance.getEntriesByType("navigation");
  if (lacks(location.hash) || (visit && visit.type !== "navigate")) putAll();
  addEventListener("click", ({ target }) => {
    const link = target.closest("a[href^='#']");
    if (link && lacks(link.hash)) putAll();
  }, true);
  addEventListener("beforeprint", putAll);
  // When the first frame is seen, and not when it is made: until then a processor has enough to do. Some browsers never say it.
  const isSeen = () => performance.getEntriesByName("first-contentful-paint").length > 0;
  const seen = new Promise((done) => {
    if (isSeen()) done();
    new PerformanceObserver(() => isSeen() && done()).observe({ entryTypes: ["paint"] });
    frame().then(() => setTimeout(done, 1000));
  });
  seen.then(turn).then(start);
})();
