// What the page does: draws its charts while nothing else happens, sorts and folds tables, and shows what is chosen.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chosen = { op: "noise_share", tensor: 0, log: true };
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== "") made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  // A browser saves a page with what its scripts have added, of which charts lose the styles that their policy does not name.
  for (const added of all("[data-added]")) added.remove();
  for (const drawn of all("[data-drawn]")) delete drawn.dataset.drawn;

  // ---- charts ----
  const places = all("[data-chart]");
  function draw(place) {
    const name = place.dataset.chart, drawn = charts.draw[name](data, Math.max(place.clientWidth, 240), chosen);
    place.dataset.drawn = "yes";
    if (!drawn) {
      place.replaceChildren(make("p", "Nothing to draw: the run has no numbers for it.", { class: "note" }));
      place.style.minHeight = "0";
      return;
    }
    drawn.setAttribute("role", "img");
    place.style.minHeight = "0";
    const key = make("p", "", { class: "key", "aria-hidden": "true" });
    for (const [sign, word] of [["f", "float"], ["q", "integer"]]) {
      const part = make("span", "");
      part.append(make("i", "", { class: sign }), word);
      key.append(part);
    }
    place.replaceChildren(...(charts.keyed.has(name) ? [key, drawn] : [drawn]));
  }
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 1));
  const sections = all("main > section");
  // A chart in a slice of idle time, those in sight first: of sections out of sight nothing is laid out before its turn.
  const near = new Set(), watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) near[isIntersecting ? "add" : "delete"](target);
  });
  function drawAll() {
    const waiting = places.filter((place) => !place.dataset.drawn);
    const next = waiting.find((place) => near.has(place)) || waiting[0];
    if (next) {
      draw(next);
      watch.unobserve(next);
      near.delete(next);
    } else {
      const hidden = sections.find((section) => !section.classList.contains("laid"));
      if (!hidden) { document.documentElement.dataset.drawn = "yes"; return; }
      hidden.classList.add("laid"); // so that all of it can be found and scrolled to
    }
    idle(drawAll, { timeout: 200 });
  }
  const redraw = (name) => draw(places.find((place) => place.dataset.chart === name));

  // ---- tables ----
  const valueOf = (row, column) => {
    const cell = row.cells[column], held = cell.dataset.value;
    if (held === undefined) return cell.textContent.trim().toLocaleLowerCase("en");
    return held === "" ? NaN : Number(held);
  };
  const isNone = (value) => typeof value === "number" && Number.isNaN(value);
  function order(a, b) {
    if (isNone(a) || isNone(b)) return isNone(a) - isNone(b); // what is empty comes last, whatever the order
    return a < b ? -1 : a > b ? 1 : 0;
  }
  function sortBy(table, header) {
    const up = header.getAttribute("aria-sort") === "descending" || (!header.hasAttribute("aria-sort") && !header.dataset.numbers);
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0], column = header.cellIndex;
    const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
    rows.sort(([a], [b]) => (isNone(a) || isNone(b) ? order(a, b) : up ? order(a, b) : order(b, a)));
    rows.forEach(([, row], n) => row.classList.toggle("more", n >= FIRST));
    body.append(...rows.map(([, row]) => row));
  }
  const FIRST = 15;
  for (const table of all("table.sortable")) {
    for (const header of all("thead th", table)) {
      if (table.tBodies[0].rows[0]?.cells[header.cellIndex]?.dataset.value !== undefined) { header.dataset.numbers = "yes"; header.classList.add("n"); }
      const button = make("button", header.textContent, { type: "button" });
      button.addEventListener("click", () => sortBy(table, header));
      header.replaceChildren(button);
    }
  }
  for (const table of all("table.fold")) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length <= FIRST + 3) continue;
    rows.forEach((row, n) => row.classList.toggle("more", n >= FIRST));
    table.classList.add("folded");
    const button = make("button", `Show all ${rows.length}`, { type: "button", class: "unfold", "aria-expanded": "false", "data-added": "" });
    button.addEventListener("click", () => {
      const folded = table.classList.toggle("folded");
      button.setAttribute("aria-expanded", String(!folded));
      button.textContent = folded ? `Show all ${rows.length}` : `Show the first ${FIRST}`;
    });
    table.parentElement.after(button);
  }

  // ---- what is chosen ----
  for (const radio of all("input[name=op-figure]")) radio.addEventListener("change", () => { chosen.op = radio.value; redraw("ops"); });
  const select = document.getElementById("tensor"), held = document.querySelector("[data-table=histogram]");
  function fillTable() {
    if (!held.open) return;
    const table = make("table", ""), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const title of ["from", "to", "float", "integer"]) head.append(make("th", title, { class: "n", scope: "col" }));
    for (const bin of charts.binned(data.tensors[chosen.tensor])) {
      if (!bin.float && !bin.integer) continue;
      const row = body.insertRow();
      for (const value of [bin.low, bin.high, bin.float, bin.integer]) row.append(make("td", charts.number(value), { class: "n" }));
    }
    held.replaceChildren(held.querySelector("summary"), table);
  }
  if (select && data.tensors.length) {
    const groups = d3.group(data.tensors.map((tensor, n) => [n, tensor]), ([, tensor]) => tensor.role);
    for (const [role, tensors] of groups) {
      const group = make("optgroup", "", { label: role, "data-added": "" });
      for (const [n, tensor] of tensors) group.append(make("option", tensor.name, { value: String(n) }));
      select.append(group);
    }
    const about = make("p", "", { class: "note", "aria-live": "polite", "data-added": "" });
    select.closest(".choice").after(about);
    const show = () => { about.textContent = charts.aboutTensor(data.tensors[chosen.tensor]); fillTable(); };
    const noise = (op) => (typeof op.noise_share === "number" ? op.noise_share : -1);
    const worst = d3.greatest(data.ops, noise); // its weight is what one looks at first
    chosen.tensor = Math.max(data.tensors.findIndex((t) => t.role === "weight" && t.op === worst?.op), 0);
    select.value = String(chosen.tensor);
    show();
    select.addEventListener("change", () => { chosen.tensor = Number(select.value); redraw("histogram"); show(); });
    document.getElementById("log").addEventListener("change", (event) => { chosen.log = event.target.checked; redraw("histogram"); });
    held.addEventListener("toggle", fillTable);
  } else if (select) {
    select.closest(".choice").remove();
    held.remove();
  }

  // ---- when the window changes, and on paper ----
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's bars come and go
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => { for (const place of places) { delete place.dataset.drawn; watch.observe(place); } drawAll(); }, 150);
  });
  addEventListener("beforeprint", () => { for (const place of places) if (!place.dataset.drawn) draw(place); });
  for (const place of places) watch.observe(place);
  idle(drawAll, { timeout: 200 });
})();
