"use strict";
// The charts of one group of numbers, drawn with Observable Plot: each is { draw(width), rows() }, a picture and its table.
const IntactCharts = (() => {
  const INK = "var(--ex-ink)", BLUE = "var(--ex-blue)", ORANGE = "var(--ex-orange)";
  const FEW = 32; // levels that are drawn from top to bottom

  function number(x) {
    if (x === null || x === undefined || Number.isNaN(x)) return "–";
    if (!Number.isFinite(x)) return x > 0 ? "infinite" : "-infinite";
    if (Number.isInteger(x) && Math.abs(x) >= 100) return x.toLocaleString("en-US");
    const text = String(Number(x.toPrecision(4)));
    if (!text.includes("e") || Math.abs(x) < 1e-9 || Math.abs(x) >= 1) return text;
    return x.toFixed(3 - Math.floor(Math.log10(Math.abs(x)))).replace(/0+$/, "");
  }
  const percent = (part) => `${number(100 * part)} %`;

  // Counts in fewer bins, where there are few numbers.
  function merged(counts, n) {
    const bins = [[64, 16], [512, 32], [4096, 64]].find(([most]) => n <= most)?.[1] ?? counts.length, each = counts.length / bins;
    return Array.from({ length: bins }, (_, k) => counts.slice(k * each, (k + 1) * each).reduce((a, b) => a + b, 0));
  }

  function stairs(counts, low, high) {
    const width = (high - low) / counts.length || 1;
    const points = Array.from(counts, (count, k) => ({ x: low + k * width, y: count }));
    return [...points, { x: low + counts.length * width, y: counts[counts.length - 1] }];
  }

  function plot(label, width, options) {
    const drawn = Plot.plot({
      width, height: 210, marginLeft: 48, marginBottom: 34, marginTop: 22, marginRight: 14, ariaLabel: label, figure: false,
      style: { background: "transparent", color: "inherit", fontSize: "11px", overflow: "visible" }, ...options,
      x: { ticks: Math.max(3, Math.floor(width / 85)), ...options.x }, y: { grid: true, ticks: 4, tickFormat: "~s", ...options.y },
    });
    drawn.setAttribute("role", "img");
    return drawn;
  }

  const area = (points, options) => Plot.areaY(points, { x: "x", y: "y", curve: "step-after", fill: INK, fillOpacity: 0.35, ...options });

  function histogram(f) {
    const bins = merged(f.histogram, f.count), most = Math.max(...bins), few = f.levels.length <= FEW;
    const step = (f.high - f.low) / bins.length;
    const fit = f.deviation > 0 ? Array.from({ length: 97 }, (_, k) => {
      const x = f.low + (k / 96) * (f.high - f.low), z = (x - f.mean) / f.deviation;
      return { x, y: (f.count * step * Math.exp(-z * z / 2)) / (f.deviation * Math.sqrt(2 * Math.PI)) };
    }) : [];
    const top = 1.05 * Math.min(Math.max(most, ...fit.map(({ y }) => y)), 1.5 * most);
    return {
      draw: (width) => plot("Histogram of the numbers, with the levels of the grid and a Gaussian fit", width, {
        x: { label: "value" }, y: { label: "numbers", domain: [0, top] },
        marks: [
          area(stairs(bins, f.low, f.high)),
          Plot.ruleX(f.levels, { stroke: BLUE, strokeOpacity: few ? 0.8 : 0.55, y1: 0, y2: few ? top : top * 0.07 }),
          Plot.line(fit, { x: "x", y: "y", stroke: ORANGE, strokeWidth: 1.5, clip: true }), Plot.ruleY([0]),
        ],
      }),
      head: ["from", "to", "numbers"],
      rows: () => bins.map((count, k) => [number(f.low + k * step), number(f.low + (k + 1) * step), number(count)]),
    };
  }

  function scatter(f) {
    return {
      draw: (width) => plot("Each number against what it becomes", width, {
        x: { label: "original" }, y: { label: "becomes", tickFormat: undefined },
        marks: [
          Plot.line([[f.low, f.low], [f.high, f.high]], { stroke: INK, strokeOpacity: 0.4 }),
          Plot.dot(f.scatter, { x: "0", y: "1", r: 1.6, fill: BLUE }),
        ],
      }),
      head: ["original", "becomes", "error"],
      rows: () => f.scatter.map(([x, y]) => [number(x), number(y), number(x - y)]),
    };
  }

  function errors(f) {
    const ends = f.bound === null ? [] : [-f.bound, f.bound], bins = merged(f.errors, f.count), step = (2 * f.worst) / bins.length;
    return {
      draw: (width) => plot("Histogram of the errors, with the bound of half a step", width, {
        x: { label: "original less what it becomes" }, y: { label: "numbers" },
        marks: [area(stairs(bins, -f.worst, f.worst)), Plot.ruleX(ends, { stroke: ORANGE, strokeWidth: 1.5 }), Plot.ruleY([0])],
      }),
      head: ["from", "to", "numbers"],
      rows: () => bins.map((count, k) => [number(-f.worst + k * step), number(-f.worst + (k + 1) * step), number(count)]),
    };
  }

  function cumulative(f) {
    let sum = 0;
    const step = (f.high - f.low) / f.histogram.length;
    const before = Array.from(f.histogram, (count, k) => ({ x: f.low + (k + 1) * step, y: (100 * (sum += count)) / f.count }));
    sum = 0;
    const after = Array.from(f.levels, (x, k) => ({ x, y: (100 * (sum += f.occupancy[k])) / f.count }));
    const marked = f.percentiles.map((x, k) => ({ x, y: IntactNumbers.PERCENTILES[k] }));
    return {
      draw: (width) => plot("Share of the numbers up to each value, before and after", width, {
        x: { label: "value" }, y: { label: "% at most this", domain: [0, 100], tickFormat: undefined },
        marks: [
          Plot.line([{ x: f.low, y: 0 }, ...before], { x: "x", y: "y", stroke: INK, strokeOpacity: 0.7 }),
          Plot.line(after, { x: "x", y: "y", stroke: BLUE, curve: "step-after" }),
          Plot.dot(marked, { x: "x", y: "y", r: 2.5, fill: ORANGE }),
        ],
      }),
      head: ["percentile", "value"],
      rows: () => marked.map(({ x, y }) => [`${y} %`, number(x)]),
    };
  }

  function occupancy(f) {
    return {
      draw: (width) => plot("How many numbers each level stores", width, {
        x: { label: f.scale === null ? "level, from the lowest" : "stored integer" }, y: { label: "numbers" },
        marks: [area(stairs(f.occupancy, f.first - 0.5, f.first - 0.5 + f.occupancy.length), { fill: BLUE, fillOpacity: 0.6 }), Plot.ruleY([0])],
      }),
      head: ["integer", "level", "numbers"],
      rows: () => Array.from(f.occupancy, (count, k) => [String(f.first + k), number(f.levels[k]), number(count)]),
    };
  }

  function channels(sqnr, chosen) {
    const points = Array.from(sqnr, (y, x) => ({ x, y })).filter(({ y }) => Number.isFinite(y));
    return {
      draw: (width) => plot("Signal to noise of each channel; a click opens it", width, {
        x: { label: "channel" }, y: { label: "dB", tickFormat: undefined },
        marks: [
          Plot.line(points, { x: "x", y: "y", stroke: INK, strokeOpacity: 0.25 }),
          Plot.dot(points.length <= 400 ? points : [], { x: "x", y: "y", r: 1.7, fill: INK, fillOpacity: 0.7 }),
          Plot.dot(points.filter(({ x }) => x === chosen), { x: "x", y: "y", r: 4, fill: ORANGE }),
        ],
      }),
      head: ["channel", "dB"],
      rows: () => Array.from(sqnr, (y, x) => [String(x), number(y)]),
    };
  }

  return { number, percent, all: { histogram, scatter, errors, cumulative, occupancy }, channels };
})();
