"use strict";
// The network as a picture: ops in layers from the input down, edges that skip layers in lanes beside them.
const IntactGraph = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const [WIDTH, HEIGHT, ROW, GAP, LANE] = [190, 24, 40, 14, 11];

  const make = (name, attributes = {}) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // Where each op lies: its layer is one below the lowest that it reads from.
  function layout(ops) {
    const makers = new Map();
    ops.forEach((op, n) => (op.outputs ?? [op.output]).forEach((id) => makers.set(id, n)));
    const sources = ops.map((op, n) => [...new Set(op.reads.map((id) => makers.get(id)))].filter((m) => m !== undefined && m < n));
    const layer = [];
    sources.forEach((from, n) => layer.push(from.reduce((most, m) => Math.max(most, layer[m] + 1), 0)));
    const layers = [];
    layer.forEach((row, n) => (layers[row] ??= []).push(n));
    const x = [], middle = (n) => sources[n].reduce((sum, m) => sum + x[m], 0) / (sources[n].length || 1);
    for (const row of layers) {
      row.sort((a, b) => middle(a) - middle(b) || a - b);
      row.forEach((n, k) => (x[n] = (k - (row.length - 1) / 2) * (WIDTH + GAP)));
    }
    const edges = sources.flatMap((from, n) => from.map((m) => ({ from: m, to: n, lane: 0 })));
    const ends = []; // the layer in which each lane is free again
    const skips = edges.filter(({ from, to }) => layer[to] - layer[from] > 1).sort((a, b) => layer[a.from] - layer[b.from]);
    for (const edge of skips) {
      let lane = ends.findIndex((end) => end <= layer[edge.from]);
      if (lane < 0) lane = ends.length;
      ends[lane] = layer[edge.to];
      edge.lane = lane + 1;
    }
    const widest = Math.max(...layers.map((row) => row.length), 1);
    const half = (widest * (WIDTH + GAP)) / 2;
    return { x, layer, edges, half, width: 2 * half + ends.length * LANE + 16, height: layers.length * ROW + 8 };
  }

  function path({ x, layer, half }, { from, to, lane }) {
    const x1 = x[from], x2 = x[to], y1 = layer[from] * ROW + HEIGHT, y2 = layer[to] * ROW;
    if (!lane) return `M${x1},${y1}C${x1},${(y1 + y2) / 2} ${x2},${(y1 + y2) / 2} ${x2},${y2}`;
    const side = half + lane * LANE - 4;
    return `M${x1},${y1}C${x1},${y1 + 14} ${side},${y1} ${side},${y1 + 18}V${y2 - 18}C${side},${y2} ${x2},${y2 - 14} ${x2},${y2}`;
  }

  // `opened(n)` is told which op was clicked or entered.
  function draw(ops, opened) {
    const places = layout(ops), { x, layer, edges, half, width, height } = places;
    const svg = make("svg", {
      viewBox: `${-half - 4} -4 ${width} ${height + 4}`, width, height: height + 4, class: "ex-graph", role: "group",
      "aria-label": `The network's ${ops.length} ops; arrow keys move, Enter opens`,
    });
    for (const edge of edges) svg.append(make("path", { d: path(places, edge), class: "ex-edge" }));
    const nodes = ops.map((op, n) => {
      const node = make("g", { transform: `translate(${x[n] - WIDTH / 2},${layer[n] * ROW})`, class: "ex-node", role: "button" });
      node.setAttribute("tabindex", n === 0 ? 0 : -1);
      const name = make("text", { x: 7, y: 16 }), value = make("text", { x: WIDTH - 7, y: 16, "text-anchor": "end", class: "ex-value" });
      name.textContent = op.kind.length > 17 ? `${op.kind.slice(0, 16)}…` : op.kind;
      node.append(make("title"), make("rect", { width: WIDTH, height: HEIGHT, rx: 5 }), name, value);
      node.addEventListener("click", () => opened(n));
      node.addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
        if (event.key === "Enter" || event.key === " ") opened(n);
        else if (event.key === "Home") focus(0);
        else if (event.key === "End") focus(ops.length - 1);
        else if (step) focus(Math.min(Math.max(n + step, 0), ops.length - 1));
        else return;
        event.preventDefault();
      });
      svg.append(node);
      return node;
    });

    function focus(n) {
      nodes.forEach((node, k) => node.setAttribute("tabindex", k === n ? 0 : -1));
      nodes[n].focus();
    }

    // `heat`: 0 to 1 for each op, null where there is no figure; `texts`: what the figure reads.
    function color(heat, texts) {
      nodes.forEach((node, n) => {
        node.style.setProperty("--heat", `${Math.round(100 * (heat[n] ?? 0))}%`);
        node.querySelector(".ex-value").textContent = texts[n];
        node.querySelector("title").textContent = `${ops[n].op}\n${texts[n]}`;
        node.setAttribute("aria-label", `${ops[n].op}, ${texts[n] || "no figure"}`);
      });
    }

    function select(n) {
      nodes.forEach((node, k) => {
        node.classList.toggle("ex-chosen", k === n);
        node.setAttribute("aria-pressed", k === n);
        node.setAttribute("tabindex", k === n ? 0 : -1);
      });
    }

    return { svg, color, select, nodes };
  }

  return { draw, layout };
})();
