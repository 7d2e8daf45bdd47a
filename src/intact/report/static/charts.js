// The charts of a page: each a function of the page's data, the width there is and what was chosen, to an SVG or nothing.
// Names come from files that strangers made: they only ever become text, never markup.
"use strict";
const charts = (() => {
  const FLOAT = "var(--float)", INTEGER = "var(--integer)", SOFT = "var(--soft)", LINE = "var(--line)";
  /** Four digits, without an exponent where they can still be read. */
  const plain = (x) => {
    const text = String(Number(x.toPrecision(4)));
    return !text.includes("e") || Math.abs(x) < 1e-9 ? text : x.toFixed(3 - Math.floor(Math.log10(Math.abs(x)))).replace(/0+$/, "");
  };
  const number = (x) => (x === null || x === undefined || x === "" ? "" : typeof x === "string" ? x : Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en") : plain(x));
  const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
  /** A long name without its middle. */
  const cut = (name, most) => (name.length <= most ? name : `${name.slice(0, Math.ceil(most / 2) - 1)}…${name.slice(-Math.floor(most / 2))}`);
  /** An op's label is its kind and its name in quotes: the name is what the user knows. */
  const own = (label) => label.replace(/^[A-Z0-9_]+ '(.*)'$/s, "$1");
  /** Three digits, as the tables and the terminal have them: 3.384 -> 3.38, 5.005 -> 5.00. */
  const three = (x) => (x === 0 ? "0" : Number(x.toPrecision(3)).toLocaleString("en", { minimumSignificantDigits: Math.abs(x) < 999.5 ? 3 : 1, maximumSignificantDigits: 3 }));
  const bytes = (x) => (x >= 999.5e6 ? `${three(x / 1e9)} GB` : x >= 999.5e3 ? `${three(x / 1e6)} MB` : x >= 999.5 ? `${three(x / 1e3)} KB` : `${Math.round(x)} bytes`);
  const time = (x) => (x >= 999.5 ? `${three(x / 1e3)} s` : x >= 0.9995 ? `${three(x)} ms` : `${three(1e3 * x)} µs`);
  /** What an axis has on it: the same, without zeros at the end. */
  const onAxis = (told) => told.replace(/(\.\d*?)0+(?= )/, "$1").replace(/\.(?= )/, "");
  /** A tick of sizes: in full where three digits do not tell it from its neighbours. */
  const sized = (x, n, all) => (new Set(all.map((each) => onAxis(bytes(each)))).size === all.length ? onAxis(bytes(x)) : x.toLocaleString("en"));
  /** A tick of times, in milliseconds where three digits do not tell it from its neighbours. */
  const timed = (x, n, all) => (new Set(all.map((each) => onAxis(time(each)))).size === all.length ? onAxis(time(x)) : `${number(x)} ms`);
  /** Whole numbers below n, as many as there is room for. */
  const counted = (n, width) => d3.ticks(0, n - 1, Math.max(1, Math.min(n - 1, Math.round(width / 80)))).filter(Number.isInteger);
  const TOP = 24, BOTTOM = 46;
  /** What all charts have; the label of x stands under its ticks and not among them. */
  const base = (width, label, more) => ({ width, marginTop: TOP, marginBottom: BOTTOM, ariaLabel: label, ...more, x: { labelOffset: 40, ...more.x } });
  /** The height of a chart with a line for each row. */
  const rowsHigh = (n, each) => TOP + BOTTOM + n * each;

  function front(data, width, key, label) {
    const points = data.candidates.filter((c) => isNumber(c[key]) && isNumber(c.value));
    if (!points.length) return null;
    const bounded = points.filter((c) => isNumber(c.low) && isNumber(c.high)), { figure, unit, perfect = 0 } = points[0];
    const ideal = perfect === null ? [] : [perfect]; // what loses nothing: no such line in dB
    const [least, most] = d3.extent(points, (c) => c[key]), wide = least > 0 && most > 20 * least; // on a scale of logarithms then
    const along = (c) => (wide ? Math.log(c[key] / least) / Math.log(most / least) : c[key] / most), middle = wide ? 0.5 : (least / most + 1) / 2;
    const told = points.length > 16 ? points.filter((c) => c.front || c.taken) : points; // of many, those that matter; all have a tip
    // names of points that lie on one another stand beside one another
    const [bottom, top] = d3.extent([...ideal, ...points.map((c) => c.value), ...bounded.flatMap((c) => [c.low, c.high])]);
    const apart = (c) => `${Math.round(along(c) * 40)} ${Math.round((c.value / (top - bottom || 1)) * 20)}`;
    const together = d3.groups(told, apart).map(([, held]) => ({ ...held[0], taken: held.some((c) => c.taken), name: held.map((c) => c.name).join(", ") }));
    // and where there is room: what was taken first, then the front; a name without room is left to the tip and the table
    const scale = (wide ? d3.scaleLog() : d3.scaleLinear()).domain([least, most]).range([62, width - 34]).nice();
    const across = (c) => (most === least ? width / 2 + 14 : scale(c[key]));
    const down = (c) => TOP + 14 + (280 - TOP - BOTTOM - 28) * (top === bottom ? 0.5 : (top - c.value) / (top - bottom));
    const held = [], places = (side) => [side, side === "end" ? "start" : "end"].flatMap((anchor) => [-10, 16, -26].map((dy) => ({ anchor, dy })));
    const names = d3.sort(together, (a, b) => Boolean(b.taken) - Boolean(a.taken) || Boolean(b.front) - Boolean(a.front) || a[key] - b[key]).flatMap((c) => {
      const name = cut(c.name, Math.round(width / 14)), long = 6.6 * name.length;
      const box = ({ anchor, dy }) => {
        const x = anchor === "end" ? across(c) - 9 - long : across(c) + 9, y = down(c) + dy;
        return { x, y, anchor, dy, free: x >= 0 && x + long <= width && y > 20 && !held.some((b) => Math.abs(b.y - y) < 13 && b.x < x + long && x < b.x + b.long) };
      };
      const tried = places(along(c) > middle ? "end" : "start").map(box), found = tried.find((each) => each.free) || (c.taken ? tried[0] : null);
      if (!found) return [];
      held.push({ ...found, long });
      return [Plot.text([c], { x: key, y: "value", text: () => name, textAnchor: found.anchor, dx: found.anchor === "end" ? -9 : 9, dy: found.dy, fontWeight: c.taken ? 700 : 400, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3 })];
    });
    return Plot.plot(base(width, `${figure} against ${label}`, {
      height: 280, inset: 14, marginLeft: 48, grid: true,
      x: { label: `${label} →`, type: wide ? "log" : "linear", domain: scale.domain(), tickFormat: key === "bytes" ? sized : timed, ticks: Math.max(2, Math.round(width / 130)) }, y: { label: `↑ ${[figure, unit].filter(Boolean).join(", ")}`, ...(top === bottom ? { domain: [top - 1, top + 1], ticks: [top], tickFormat: number } : {}) },
      marks: [
        Plot.ruleY(ideal, { stroke: SOFT }),
        Plot.ruleX(bounded, { x: key, y1: "low", y2: "high", stroke: SOFT, strokeOpacity: 0.6 }),
        Plot.dot(points, {
          x: key, y: "value", r: 5, fill: (c) => (c.front ? INTEGER : "var(--paper)"), stroke: INTEGER, strokeWidth: 1.5, symbol: (c) => (c.taken ? "star" : "circle"),
          title: (c) => `${c.name}\n${`${number(c.value)} ${c.unit}`.trim()}${isNumber(c.low) ? ` (${number(c.low)} to ${number(c.high)})` : ""}\n${bytes(c.bytes)}, ${time(c.ms)}`, tip: true,
        }),
        ...names,
      ],
      color: { type: "identity" }, symbol: { type: "identity" },
    }));
  }

  function ops(data, width, chosen) {
    const [key, label, unit] = data.op_figures.find((f) => f[0] === (chosen.op || "noise_share"));
    const rows = data.ops.map((op, n) => ({ n, op: op.op, y: op[key] })).filter((row) => isNumber(row.y));
    if (!rows.length) return null;
    const inPercent = unit === "%", value = (x) => (inPercent ? `${number(100 * x)} %` : `${number(x)} ${unit}`.trim());
    const better = key.startsWith("sqnr"); // where more is better the least is what one looks for
    const worst = d3.sort(rows, (row) => (better ? row.y : -row.y)).slice(0, 3);
    const named = new Set(worst.map((row) => row.n));
    return Plot.plot(base(width, `${label} of every op`, {
      height: 260, marginLeft: 52, marginTop: 62, x: { label: "op, in the order in which they run →", ticks: counted(data.ops.length, width), tickFormat: (n) => String(n + 1), insetLeft: 4, insetRight: 4 },
      y: { label: `↑ ${label}${unit && !inPercent ? `, ${unit}` : ""}`, grid: true, tickFormat: inPercent ? (x) => `${number(100 * x)} %` : ["macs", "parameters", "live_bytes"].includes(key) ? "s" : undefined, ticks: 5 },
      marks: [
        Plot.ruleY([0], { stroke: SOFT }),
        Plot.rectY(rows, { x1: (r) => r.n - 0.42, x2: (r) => r.n + 0.42, y: "y", fill: (r) => (named.has(r.n) ? INTEGER : SOFT), fillOpacity: (r) => (named.has(r.n) ? 1 : 0.55) }),
        ...worst.map((row, rank) => Plot.text([row], { x: "n", frameAnchor: "top", dy: -16 - 14 * (2 - rank), text: (r) => `${cut(own(r.op), Math.floor(width / 14))}  ${value(r.y)}`, textAnchor: row.n > data.ops.length / 2 ? "end" : "start", fontWeight: rank ? 400 : 700 })),
        ...worst.map((row, rank) => Plot.ruleX([row], { x: "n", y1: "y", y2: d3.max(rows, (r) => r.y), stroke: INTEGER, strokeOpacity: 0.35, strokeDasharray: "2 3", insetTop: -8 - 14 * (2 - rank) })),
        Plot.tip(rows, Plot.pointerX({ x: "n", y: "y", title: (r) => `${r.n + 1}. ${r.op}\n${value(r.y)}` })),
      ],
      color: { type: "identity" },
    }));
  }

  function levelsOf(tensor) {
    if (!tensor.step || !isNumber(tensor.grid_low) || !isNumber(tensor.grid_high)) return { n: 0, at: [] };
    const n = Math.round((tensor.grid_high - tensor.grid_low) / tensor.step) + 1;
    return { n, at: n <= 300 ? d3.range(n).map((k) => tensor.grid_low + k * tensor.step) : [] };
  }
  function binned(tensor) {
    const h = tensor.histogram, width = (h.high - h.low) / h.float.length;
    return h.float.map((count, n) => ({ low: h.low + n * width, high: h.low + (n + 1) * width, float: count, integer: h.integer[n] }));
  }
  function histogram(data, width, chosen) {
    const tensor = data.tensors[chosen.tensor || 0];
    if (!tensor) return null;
    const bins = binned(tensor), logarithmic = chosen.log !== false, floor = logarithmic ? 0.7 : 0, levels = levelsOf(tensor);
    const most = d3.max(bins, (b) => Math.max(b.float, b.integer)) || 1, low = tensor.histogram.low, high = tensor.histogram.high;
    const inside = levels.at.filter((x) => x >= low && x <= high), ends = [tensor.grid_low, tensor.grid_high].filter((x) => isNumber(x) && x >= low && x <= high);
    return Plot.plot(base(width, `Histogram of ${tensor.name}, float and integer`, {
      height: 320, marginLeft: 56, x: { domain: [low, high], label: "value →", tickSize: 8, tickPadding: 5 },
      y: { type: logarithmic ? "log" : "linear", domain: [floor, most * (logarithmic ? 2 : 1.05)], label: "↑ how many numbers", grid: true, ticks: 5, tickFormat: (n) => (n < 1 && n > 0 ? "" : d3.format("~s")(n)) },
      marks: [
        ...(levels.n <= 64 ? [Plot.ruleX(inside, { stroke: INTEGER, strokeOpacity: 0.3, strokeWidth: 0.75 })] : []),
        Plot.rectY(bins.filter((b) => b.integer), { x1: "low", x2: "high", y1: floor, y2: "integer", fill: INTEGER, fillOpacity: 0.55, insetLeft: 0.25, insetRight: 0.25 }),
        Plot.line(bins.flatMap((b) => [{ x: b.low, y: Math.max(b.float, floor) }, { x: b.high, y: Math.max(b.float, floor) }]), { x: "x", y: "y", stroke: FLOAT, strokeWidth: 1.75 }),
        Plot.ruleX(ends, { stroke: INTEGER, strokeDasharray: "4 3" }),
        Plot.vector(inside, { x: (x) => x, frameAnchor: "bottom", dy: 0, length: 6, anchor: "start", shape: { draw: (context, l) => { context.moveTo(0, 0); context.lineTo(0, l); } }, stroke: INTEGER, strokeWidth: 1 }),
        Plot.tip(bins, Plot.pointerX({ x: (b) => (b.low + b.high) / 2, y: (b) => Math.max(b.float, b.integer, floor), title: (b) => `${number(b.low)} to ${number(b.high)}\nfloat ${number(b.float)}\ninteger ${number(b.integer)}` })),
      ],
    }));
  }
  /** What a reader sees beside the histogram: the format in words. */
  function aboutTensor(tensor) {
    const levels = levelsOf(tensor).n, clipped = isNumber(tensor.clipped) ? `${number(100 * tensor.clipped)} % of float lies outside and is clipped` : "";
    return [tensor.op ? `${tensor.role} of ${tensor.op}` : tensor.role, tensor.dtype, levels ? `${number(levels)} levels of ${number(tensor.step)}${tensor.axis === null ? "" : " in the widest channel"}` : "", clipped].filter(Boolean).join("; ");
  }

  function ranges(data, width) {
    const rows = d3.sort(data.tensors.filter((t) => !["weight", "bias"].includes(t.role) && isNumber(t.low) && isNumber(t.high) && isNumber(t.grid_low)), (t) => -(t.clipped || 0)).slice(0, 24).map((t, n) => ({ ...t, key: n }));
    if (!rows.length) return null;
    const margin = Math.min(260, width * 0.34), low = d3.min(rows, (t) => Math.min(t.low, t.grid_low)), high = d3.max(rows, (t) => Math.max(t.high, t.grid_high));
    const decades = Math.ceil(Math.log10(Math.max(-low, high, 1))) + 1, sides = (low < -1) + (high > 1), room = (width - margin) / 60;
    const step = Math.max(1, Math.ceil((sides * decades) / room)); // 1 lies beside 0 where there is no room for every power
    const powers = d3.range(step > 1 ? step : 0, decades, step).map((n) => 10 ** n); // of ten: the scale is one of logarithms
    const ticks = Math.max(-low, high) < 4 ? Math.max(3, Math.round(width / 130)) : [...powers.map((x) => -x), 0, ...powers].filter((x) => x >= low && x <= high);
    return Plot.plot(base(width, "Ranges of float and of the grid", {
      height: rowsHigh(rows.length, 20), marginLeft: margin, x: { label: "value →", grid: true, type: "symlog", ticks, tickFormat: number }, y: { type: "band", label: null, tickSize: 0, tickFormat: (n) => cut(rows[n].name, Math.floor(margin / 6.3)), domain: rows.map((r) => r.key) },
      marks: [
        Plot.barX(rows, { y: "key", x1: "grid_low", x2: "grid_high", fill: INTEGER, fillOpacity: 0.35, insetTop: 3, insetBottom: 3, title: (t) => `${t.name}\nfloat ${number(t.low)} to ${number(t.high)}\ngrid ${number(t.grid_low)} to ${number(t.grid_high)}\nclipped ${number(100 * (t.clipped || 0))} %`, tip: true }),
        Plot.ruleY(rows, { y: "key", x1: "low", x2: "high", stroke: FLOAT, strokeWidth: 3 }),
        Plot.ruleX([0], { stroke: SOFT }),
      ],
    }));
  }

  function classes(data, width) {
    const rows = data.class_rows.slice(0, 30);
    if (!rows.length) return null;
    const margin = Math.min(180, width * 0.3), clashes = new Set(rows.map((r) => r.name)).size < rows.length;
    const key = (row) => (clashes ? `${row.name} ${data.class_rows.indexOf(row)}` : row.name);
    return Plot.plot(base(width, "Accuracy by class, float and integer", {
      height: rowsHigh(rows.length, 22), marginLeft: margin, x: { label: "accuracy, % →", grid: true, nice: true, insetLeft: 34 }, y: { type: "band", label: null, domain: rows.map(key), tickSize: 0, tickFormat: (name) => cut(name, Math.floor(margin / 7)) },
      marks: [
        Plot.ruleY(rows, { y: key, x1: "float", x2: "integer", stroke: (r) => (r.change < 0 ? INTEGER : FLOAT), strokeWidth: 3, strokeOpacity: 0.5 }),
        Plot.dot(rows, { y: key, x: "float", fill: FLOAT, r: 5 }),
        Plot.dot(rows, { y: key, x: "integer", fill: INTEGER, r: 5, symbol: "square" }),
        Plot.text(rows, { y: key, x: (r) => Math.min(r.float, r.integer), text: (r) => (Math.abs(r.change) >= 0.05 ? `${r.change > 0 ? "+" : "−"}${number(Math.abs(r.change))}` : ""), dx: -11, textAnchor: "end", fill: "currentColor" }),
        Plot.tip(rows, Plot.pointerY({ y: key, x: "float", title: (r) => `${r.name}, ${r.n} samples\nfloat ${number(r.float)} %\ninteger ${number(r.integer)} %` })),
      ],
      color: { type: "identity" },
    }));
  }

  function confusion(data, width, kind) {
    const held = data.classes;
    if (!held) return null;
    const names = held.names, size = names.length, cells = [];
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) {
      const a = held.confusion_float[i][j], b = held.confusion_quantized[i][j];
      cells.push({ i, j, n: kind === "float" ? a : kind === "integer" ? b : b - a, of: held.n[i] || 1 });
    }
    const most = kind === "change" ? d3.max(cells, (c) => Math.abs(c.n)) || 1 : 1, margin = Math.min(90, width * 0.24);
    const color = kind === "float" ? FLOAT : kind === "integer" ? INTEGER : (c) => (c.n < 0 ? FLOAT : INTEGER);
    const strength = (c) => (kind === "change" ? (Math.abs(c.n) / most) * 0.75 : Math.sqrt(Math.max(c.n, 0) / c.of) * 0.75);
    const title = (c) => `${names[c.i]} taken for ${names[c.j]}: ${kind === "change" && c.n > 0 ? "+" : ""}${c.n}`;
    return Plot.plot(base(width, `Confusion matrix, ${kind}`, {
      height: Math.min(width, 480), marginLeft: margin, marginBottom: margin, marginTop: 4, marginRight: 2, padding: 0.04,
      x: { type: "band", domain: d3.range(size), tickFormat: (n) => cut(names[n], 12), tickRotate: -45, tickSize: 0, label: null }, y: { type: "band", domain: d3.range(size), tickFormat: (n) => cut(names[n], 12), tickSize: 0, label: null },
      color: { type: "identity" }, opacity: { type: "identity" },
      marks: [
        Plot.cell(cells, { x: "j", y: "i", fill: LINE, fillOpacity: 0.25 }),
        Plot.cell(cells, { x: "j", y: "i", fill: color, fillOpacity: strength, title, tip: true }),
        ...(size <= 14 && width > 300 ? [Plot.text(cells.filter((c) => c.n), { x: "j", y: "i", text: (c) => (kind === "change" && c.n > 0 ? `+${c.n}` : String(c.n).replace("-", "−")), fill: "currentColor", fontSize: 11 })] : []),
      ],
    }));
  }

  function sizes(data, width) {
    if (!data.sizes.length) return null;
    return Plot.plot(base(width, "Bytes of the file by what they are", {
      height: rowsHigh(data.sizes.length, 24), marginLeft: 96, marginRight: 84, x: { label: null, tickFormat: (x) => onAxis(bytes(x)), ticks: Math.max(2, Math.round(width / 160)), grid: true }, y: { label: null, domain: data.sizes.map((s) => s.part), tickSize: 0 },
      marks: [Plot.barX(data.sizes, { x: "bytes", y: "part", fill: INTEGER, fillOpacity: 0.8, insetTop: 3, insetBottom: 3 }), Plot.text(data.sizes, { x: "bytes", y: "part", text: (s) => `${bytes(s.bytes)}`, textAnchor: "start", dx: 5 })],
    }));
  }

  function memory(data, width) {
    const held = data.memory;
    if (!held || !held.buffers.length) return null;
    const rows = held.buffers.flatMap((b, n) => d3.range(b.first, b.last + 1).map((op) => ({ op, bytes: b.bytes, name: b.name, n })));
    return Plot.plot(base(width, "Bytes of activations alive during each op", {
      height: 280, marginLeft: 62, x: { label: "op, in the order in which they run →", tickFormat: (n) => String(n + 1), ticks: counted(d3.max(rows, (r) => r.op) + 1, width) }, y: { label: "↑ bytes alive", grid: true, tickFormat: (x) => onAxis(bytes(x)), ticks: 5 },
      marks: [
        Plot.rectY(rows, Plot.stackY({ x1: (r) => r.op - 0.5, x2: (r) => r.op + 0.5, y: "bytes", z: "n", order: "n", fill: INTEGER, fillOpacity: (r) => (r.n % 2 ? 0.45 : 0.8), insetTop: 0.5, title: (r) => `${r.name}\n${number(r.bytes)} bytes, during op ${r.op + 1}`, tip: true })),
        Plot.ruleY([held.peak], { stroke: SOFT, strokeDasharray: "4 3" }),
        Plot.text([held.peak], { y: (x) => x, frameAnchor: "right", text: () => `peak ${bytes(held.peak)}`, lineAnchor: "bottom", dy: -4, textAnchor: "end" }),
        Plot.ruleY([0], { stroke: SOFT }),
      ],
      opacity: { type: "identity" },
    }));
  }

  function firmware(data, width) {
    const held = data.firmware;
    if (!held || !held.ops.length) return null;
    const rows = held.ops.map((r, op) => ({ ...r, n: op }));
    const lines = [{ y: held.peak, text: `peak ${bytes(held.peak)}` }, ...(isNumber(held.limit) ? [{ y: held.limit, text: `room for activations ${bytes(held.limit)}` }] : [])];
    return Plot.plot(base(width, "Bytes of activations during each op, written in place", {
      height: 280, marginLeft: 62, x: { label: "op, in the order in which they run →", tickFormat: (n) => String(n + 1), ticks: counted(rows.length, width) }, y: { label: "↑ bytes", grid: true, tickFormat: (x) => onAxis(bytes(x)), ticks: 5 },
      marks: [
        Plot.rectY(rows, { x1: (r) => r.n - 0.5, x2: (r) => r.n + 0.5, y: "bytes", fill: INTEGER, fillOpacity: 0.8, insetLeft: 0.5, insetRight: 0.5, title: (r) => `${cut(r.op, 60)}\n${number(r.bytes)} bytes`, tip: true }),
        Plot.ruleY(lines, { y: "y", stroke: SOFT, strokeDasharray: "4 3" }),
        Plot.text(lines, { y: "y", frameAnchor: "right", text: "text", lineAnchor: "bottom", dy: -4, textAnchor: "end" }),
        Plot.ruleY([0], { stroke: SOFT }),
      ],
    }));
  }

  function latency(data, width) {
    const held = data.latency, rows = held ? ["float", "quantized"].flatMap((side) => (held[side] || []).map((ms) => ({ side: side === "float" ? "float" : "integer", ms }))) : [];
    if (!rows.length) return null;
    const medians = d3.rollups(rows, (g) => d3.median(g, (r) => r.ms), (r) => r.side).map(([side, ms]) => ({ side, ms }));
    const color = (r) => (r.side === "float" ? FLOAT : INTEGER), middle = (d3.min(rows, (r) => r.ms) + d3.max(rows, (r) => r.ms)) / 2;
    return Plot.plot(base(width, "Latency of every timed block", {
      height: 150, marginLeft: 60, marginRight: 60, x: { label: "latency →", tickFormat: timed, grid: true, nice: true, ticks: Math.max(2, Math.round(width / 130)) }, y: { type: "band", label: null, domain: ["float", "integer"], tickSize: 0, padding: 0.25 }, color: { type: "identity" },
      marks: [
        Plot.tickX(rows, { x: "ms", y: "side", stroke: color, strokeOpacity: 0.5 }),
        Plot.tickX(medians, { x: "ms", y: "side", stroke: color, strokeWidth: 4 }),
        ...medians.map((m) => Plot.text([m], { x: "ms", y: "side", text: (m) => time(m.ms), dy: -24, textAnchor: m.ms < middle ? "start" : "end", fontWeight: 600 })),
      ],
    }));
  }

  return {
    number, binned, aboutTensor,
    draw: {
      "front-bytes": (data, width) => front(data, width, "bytes", "size"),
      "front-ms": (data, width) => front(data, width, "ms", "latency"),
      "confusion-float": (data, width) => confusion(data, width, "float"),
      "confusion-integer": (data, width) => confusion(data, width, "integer"),
      "confusion-change": (data, width) => confusion(data, width, "change"),
      ops, histogram, ranges, classes, sizes, memory, firmware, latency,
    },
    /** Charts in which both colours stand. */
    keyed: new Set(["histogram", "ranges", "classes", "latency"]),
  };
})();
