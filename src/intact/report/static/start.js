// Runs the page's scripts once it has been seen: they lie packed in elements that run nothing, and the page's policy knows their hashes.
"use strict";
(() => {
  const turn = () => new Promise((done) => setTimeout(done)); // each in a task of its own, so that a key or a click is heard between them
  async function unpacked(text) {
    const characters = atob(text), bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  async function start() {
    for (const element of document.querySelectorAll("script[data-packed]")) {
      const text = await unpacked(element.textContent);
      await turn();
      if (element.dataset.packed === "run") {
        const script = document.createElement("script");
        script.textContent = text;
        element.replaceWith(script);
      } else {
        element.textContent = text;
      }
      await turn();
    }
  }
  if ("DecompressionStream" in self) requestAnimationFrame(() => setTimeout(start));
  else document.getElementById("old-browser").hidden = false;
})();
