"use strict";
// The explorer: what is chosen above, the figures and charts of one tensor, the whole model, and the network as a graph.
const IntactExplorer = (() => {
  const { number, percent, all: charts, channels: channelChart } = IntactCharts;
  const turns = new MessageChannel(), waiting = []; // setTimeout waits 4 ms once it is called in a row
  turns.port1.onmessage = () => waiting.shift()();
  const yieldToPage = () => new Promise((done) => {
    waiting.push(done);
    turns.port2.postMessage(null);
  });
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 1));
  const TASK = 20; // milliseconds of drawing before the page is let do something else
  const FIGURES = {
    noise: { field: "noise_share", text: percent, sqrt: true },
    sqnr: { field: "sqnr_runtime", text: (x) => `${number(x)} dB`, less: true },
    own: { field: "sqnr_own", text: (x) => `${number(x)} dB`, less: true },
    time: { field: "ms", text: (x) => `${number(1000 * x)} µs`, sqrt: true },
    size: { field: "bytes", text: (x) => bytes(x), sqrt: true },
  };

  // A figure of a document, where what is infinite is a text; null for none.
  const real = (x) => (x === null || x === undefined || x === "nan" ? null : { inf: Infinity, "-inf": -Infinity }[x] ?? Number(x));

  function bytes(n) {
    if (n < 1000) return `${n} bytes`;
    return n < 1e6 ? `${number(n / 1000)} KB` : `${number(n / 1e6)} MB`;
  }

  function fill(element, ...children) {
    element.replaceChildren(...children);
    return element;
  }

  function make(name, text, attributes = {}) {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function table(head, rows) {
    const made = make("table"), top = make("tr"), body = make("tbody");
    head.forEach((text) => top.append(make("th", text, { scope: "col" })));
    for (const cells of rows) {
      const row = make("tr");
      cells.forEach((cell) => {
        const place = make("td");
        place.append(cell);
        row.append(place);
      });
      body.append(row);
    }
    fill(made, make("thead"), body).tHead.append(top);
    return made;
  }

  function mount(root) {
    const $ = (name) => root.querySelector(`[data-ex="${name}"]`);
    const about = JSON.parse($("document").textContent), rows = new Map(about.tensors.map((row) => [row.id, row]));
    const source = $("worker").textContent, address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const state = { id: null, channel: 0, ticket: 0, modelTicket: 0, figures: null, sqnr: null, waiting: null };
    const given = [new Set(), new Set()]; // what each worker has been given
    const workers = [0, 1].map((n) => {
      const worker = new Worker(address);
      worker.onmessage = ({ data }) => answer(data, n);
      return worker;
    });
    const [inView, ofModel] = workers;
    let graph = null;

    const say = (text) => ($("alert").textContent = text);
    const choice = () => ({
      bits: Number($("bits").value), symmetric: $("symmetric").value === "symmetric", perChannel: $("granularity").value === "channel",
      ranges: $("ranges").value, levels: $("levels").value, percent: Number($("percent").value),
    });

    // ---- what goes to the workers and comes back

    function give(worker, n, id) {
      const row = rows.get(id);
      if (given[n].has(id) || row.own) return;
      given[n].add(id);
      const packed = row.held ? document.querySelector(`[data-ex-weights="${id}"]`).textContent : null;
      worker.postMessage({ type: "hold", id, packed, histogram: row.histogram, about: { shape: row.shape, axis: row.axis, count: row.count } });
    }

    const answers = {
      held: (_, n) => n === 0 && idle(ahead),
      need: ({ id }, n) => give(workers[n], n, id),
      figures: (data) => data.ticket === state.ticket && showFigures(data),
      sums: (data) => data.ticket === state.ticket && showSums(data),
      progress: ({ ticket, done, of }) => ticket === state.modelTicket && ($("model-state").textContent = `${done} of ${of} tensors …`),
      model: (data) => data.ticket === state.modelTicket && showModel(data.rows),
      read: ({ id, shape, count }) => {
        Object.assign(rows.get(id), { shape, count });
        open(id);
      },
      failed: ({ why, id }) => {
        if (rows.get(id)?.own && rows.get(id).count === 0) rows.delete(id);
        say(why);
      },
    };
    // What might be looked at next is unpacked while nothing else happens, the largest first.
    let room = 4e6;
    const next = about.tensors.filter((row) => row.held && row.role === "weight").sort((a, b) => b.count - a.count);
    function ahead() {
      const row = next.find(({ id, count }) => !given[0].has(id) && count <= room);
      if (!row) return;
      room -= row.count;
      give(inView, 0, row.id);
    }

    const answer = (data, n) => answers[data.type](data, n);

    function ask() {
      const now = choice();
      $("bits-shown").textContent = `${now.bits} bits`;
      $("percent-field").hidden = now.ranges !== "percentile";
      $("granularity-field").hidden = rows.get(state.id).axis === null;
      $("channel-field").hidden = !now.perChannel || rows.get(state.id).axis === null;
      give(inView, 0, state.id);
      state.ticket += 1;
      state.asked = performance.now();
      inView.postMessage({ type: "choose", ticket: state.ticket, id: state.id, choice: now, channel: state.channel });
    }

    function askModel() {
      const ids = about.tensors.filter((row) => row.role === "weight" && row.held).map((row) => row.id);
      if (!ids.length) return;
      state.modelTicket += 1;
      state.modelAsked = performance.now();
      $("model-state").textContent = "counting …";
      ofModel.postMessage({ type: "model", ticket: state.modelTicket, choice: choice(), ids });
    }

    function open(id) {
      const row = rows.get(id);
      if (!row || !(row.held || row.histogram || row.own)) return;
      say("");
      [state.id, state.channel] = [id, 0];
      $("tensor").value = String(id);
      $("channel").value = "0";
      $("axis-field").hidden = !row.own;
      const parts = [row.op ? `${row.role} of ${row.op}` : row.role, row.shape.join(" × "), row.dtype];
      if (real(row.stored_sqnr) !== null) parts.push(`${number(real(row.stored_sqnr))} dB as the file stores it`);
      if (row.histogram) parts.push(`figures estimated from a histogram of ${row.histogram.counts.length} bins`);
      fill($("tensor-about"), make("b", row.name, { class: "ex-name", title: row.name, tabindex: 0 }), ` ${parts.filter(Boolean).join(", ")}`);
      ask();
    }

    // ---- one tensor

    const tiles = (f) => [
      ["signal to noise", `${number(f.sqnr)} dB`],
      ["worst error", f.bound === null ? number(f.worst) : `${number(f.worst)} of ${number(f.bound)} allowed`],
      ["mean error", f.bound === null ? number(f.meanError) : `${number(f.meanError)} (${percent(f.meanError / f.bound)})`],
      ["levels used", `${f.used} of ${f.levels.length}`],
      ["clipped", f.clipped === null ? "–" : `${number(f.clipped)} of ${number(f.count)}`],
      ["near zero", percent(f.nearZero / f.count)],
      ["bytes", `${bytes(f.bytes)} of ${bytes(4 * f.of)}`],
      ["scale, zero point", f.scale === null ? "none: k-means" : `${number(f.scale)}, ${f.zeroPoint}`],
      ["mean ± deviation", `${number(f.mean)} ± ${number(f.deviation)}`],
      ["lowest to highest", `${number(f.low)} to ${number(f.high)}`],
    ];

    async function showFigures({ ticket, channel, groups, estimated, figures }) {
      root.dataset.exWorkerMs = String(performance.now() - state.asked);
      const width = widthOf("histogram"); // before anything changes: charts are as wide as each other
      const row = rows.get(state.id);
      figures.of = estimated ? row.count : figures.count;
      figures.first = figures.scale === null ? 0 : Math.round(figures.levels[0] / figures.scale) + figures.zeroPoint;
      [state.figures, state.groups] = [figures, groups];
      $("channel").max = groups - 1;
      $("channel-of").textContent = `of ${groups}`;
      $("group").textContent = groups > 1 ? `channel ${channel} of ${groups}` : "the whole tensor";
      fill($("tiles"), ...tiles(figures).map(([name, value]) => {
        const tile = make("div", undefined, { class: "ex-tile" });
        tile.append(make("dt", name), make("dd", value));
        return tile;
      }));
      fill($("percentiles"), table(
        IntactNumbers.PERCENTILES.map((p) => `${p} %`), [figures.percentiles.map((value) => number(value))],
      ));
      let began = performance.now();
      for (const [name, chart] of Object.entries(charts)) {
        if (performance.now() - began > TASK) {
          await yieldToPage();
          if (ticket !== state.ticket) return;
          began = performance.now();
        }
        drawn(name, chart(figures), width);
      }
      root.dataset.exShown = String(ticket);
      root.dataset.exMs = String(performance.now() - state.asked);
    }

    const widthOf = (name) => Math.max($(name).querySelector(".ex-chart").clientWidth, 240);

    function drawn(name, chart, width) {
      const place = $(name), held = place.querySelector(".ex-chart"), details = place.querySelector("details");
      fill(held, chart.draw(width));
      const show = () => fill(details.querySelector("div"), table(chart.head, chart.rows()));
      details.ontoggle = () => details.open && show();
      if (details.open) show();
    }

    function showSums({ ticket, sums, sqnr }) {
      state.sqnr = sqnr;
      const row = rows.get(state.id), many = sqnr.length > 1;
      const worst = sqnr.reduce((least, value, k) => (value < sqnr[least] ? k : least), 0);
      fill($("sums"), `The tensor: ${number(sums.sqnr)} dB, worst error ${number(sums.worst)}, `
        + `${bytes(sums.bytes)} instead of ${bytes(4 * row.count)}, ${number((100 * sums.used) / sums.levels)} % of its levels in use. `);
      if (many) {
        const button = make("button", `Worst channel: ${worst}, ${number(sqnr[worst])} dB`, { type: "button" });
        button.onclick = () => toChannel(worst);
        $("sums").append(button);
      }
      $("channels").hidden = !many;
      if (many) {
        drawn("channels", channelChart(sqnr, state.channel), widthOf("channels"));
        $("channels").querySelector("svg").onclick = (event) => {
          const box = event.currentTarget.getBoundingClientRect(), part = (event.clientX - box.left - 48) / (box.width - 62);
          toChannel(Math.min(Math.max(Math.round(part * (sqnr.length - 1)), 0), sqnr.length - 1));
        };
      }
      root.dataset.exSums = String(ticket);
      root.dataset.exSumsMs = String(performance.now() - state.asked);
      state.result = { sums, sqnr };
    }

    function toChannel(channel) {
      state.channel = channel;
      $("channel").value = String(channel);
      ask();
    }

    // ---- the whole model

    function showModel(found) {
      const all = IntactNumbers.together(found), others = about.tensors.filter((row) => ["bias", "constant"].includes(row.role));
      const beside = others.reduce((sum, row) => sum + 4 * row.count, 0), before = 4 * all.count + beside, after = all.bytes + beside;
      const worst = [...found].sort((a, b) => a.sqnr - b.sqnr);
      $("model-state").textContent = "";
      fill($("model-sums"), ...[
        ["signal to noise", `${number(all.sqnr)} dB`], ["bytes", `${bytes(after)} of ${bytes(before)}`],
        ["smaller by", `${number(before / after)} ×`], ["worst error", number(all.worst)], ["weights", `${found.length} tensors`],
      ].map(([name, value]) => {
        const tile = make("div", undefined, { class: "ex-tile" });
        tile.append(make("dt", name), make("dd", value));
        return tile;
      }));
      const button = (row) => {
        const opens = make("button", rows.get(row.id).op, { type: "button", title: rows.get(row.id).name });
        opens.onclick = () => {
          open(row.id);
          $("tensor").scrollIntoView({ block: "nearest" });
        };
        return opens;
      };
      const cells = (row) => [button(row), number(row.sqnr), number(row.worst), bytes(row.bytes), number(row.count)];
      const head = ["the weight of", "dB", "worst error", "bytes", "numbers"];
      fill($("model-table"), table(head, worst.slice(0, 10).map(cells)));
      const rest = $("model-rest");
      const show = () => fill(rest.querySelector("div"), table(head, worst.slice(10).map(cells)));
      rest.hidden = worst.length <= 10;
      rest.ontoggle = () => rest.open && show();
      if (rest.open) show();
      state.model = { after, before, sqnr: all.sqnr, worst: all.worst, rows: found };
      root.dataset.exModel = String(state.modelTicket);
      root.dataset.exModelMs = String(performance.now() - state.modelAsked);
    }

    // ---- the graph

    function colored() {
      const { field, text, sqrt, less } = FIGURES[$("color").value];
      const values = about.ops.map((op) => real(op[field]));
      const finite = values.filter((value) => Number.isFinite(value)), low = Math.min(...finite), high = Math.max(...finite);
      const heat = values.map((value) => {
        if (value === null || !finite.length) return null;
        if (!Number.isFinite(value)) return less ? 0 : 1; // no error at all
        const part = high > low ? (value - (sqrt ? 0 : low)) / (high - (sqrt ? 0 : low)) : 1;
        return less ? 1 - part : sqrt ? Math.sqrt(Math.max(part, 0)) : part;
      });
      const texts = values.map((value) => (value === null ? "" : text(value)));
      graph.color(heat, texts);
      $("legend").textContent = finite.length ? `plain is ${text(less ? high : low)}, full colour ${text(less ? low : high)}` : "there is no such figure";
      const details = $("ops-table");
      const show = () => fill(details.querySelector("div"), table(["op", $("color").selectedOptions[0].textContent, "shape"], about.ops.map((op, n) => {
        const opens = make("button", op.op, { type: "button" });
        opens.onclick = () => openOp(n);
        return [opens, texts[n] || "–", (op.shape ?? []).join(" × ")];
      })));
      details.ontoggle = () => details.open && show();
      if (details.open) show();
    }

    function openOp(n) {
      const op = about.ops[n];
      graph.select(n);
      const said = Object.entries(FIGURES).map(([name, { field, text }]) => [name, real(op[field]), text]).filter(([, value]) => value !== null);
      const names = Object.fromEntries([...$("color").options].map((option) => [option.value, option.textContent]));
      const held = [...op.reads, ...(op.outputs ?? [op.output])].map((id) => rows.get(id)).filter((row) => row && (row.held || row.histogram));
      const list = make("ul");
      for (const row of held) {
        const item = make("li"), opens = make("button", `${row.role} ${row.shape.join(" × ")}`, { type: "button", title: row.name });
        opens.onclick = () => open(row.id);
        item.append(opens);
        list.append(item);
      }
      fill($("op"), make("h3", op.op), make("p", said.map(([name, value, text]) => `${names[name]} ${text(value)}`).join(" · ")),
        held.length ? list : make("p", "None of its tensors has numbers in this page."));
      const first = held.find((row) => row.role === "weight") ?? held.find((row) => row.held) ?? held[0];
      if (first) open(first.id);
    }

    function drawGraph() {
      const started = performance.now();
      graph = IntactGraph.draw(about.ops, openOp);
      const first = Object.entries(FIGURES).find(([, { field }]) => about.ops.some((op) => real(op[field]) !== null));
      if (first) $("color").value = first[0];
      for (const option of $("color").options) {
        option.disabled = about.ops.every((op) => real(op[FIGURES[option.value].field]) === null);
      }
      colored();
      fill($("graph"), graph.svg);
      $("graph").scrollLeft = ($("graph").scrollWidth - $("graph").clientWidth) / 2;
      root.dataset.exGraphMs = String(performance.now() - started);
    }

    // ---- a tensor of one's own

    async function load(file) {
      if (!file) return;
      say("");
      if (file.size > 300e6) return say(`${file.name} is ${bytes(file.size)}; at most 300 MB can be read.`);
      const id = `own ${file.name}`, axis = Number($("axis").value);
      const row = { id, name: file.name, role: "own tensor", op: "", shape: [], count: 0, axis, dtype: "float32", own: true, held: false };
      if (!rows.get(id)?.count) rows.set(id, row);
      if (![...$("tensor").options].some((option) => option.value === id)) $("tensor").append(make("option", file.name, { value: id }));
      const npy = await file.arrayBuffer();
      inView.postMessage({ type: "hold", id, npy, about: { axis } }, [npy]);
    }

    // ---- what is typed and clicked

    let later = 0;
    // The model is counted once the tensor in view has been: they would share the processor.
    function whenSettled() {
      const settled = [root.dataset.exShown, root.dataset.exSums].every((shown) => shown === String(state.ticket));
      later = settled ? askModel() : setTimeout(whenSettled, 30);
    }
    function chosen() {
      ask();
      clearTimeout(later);
      later = setTimeout(whenSettled, 120);
    }
    for (const name of ["bits", "symmetric", "granularity", "ranges", "levels", "percent"]) $(name).addEventListener("input", chosen);
    $("tensor").addEventListener("input", ({ target }) => open(rows.has(Number(target.value)) ? Number(target.value) : target.value));
    $("channel").addEventListener("input", ({ target }) => {
      const most = (state.groups ?? 1) - 1;
      toChannel(Math.min(Math.max(Math.round(Number(target.value)) || 0, 0), most));
    });
    $("file").addEventListener("change", ({ target }) => load(target.files[0]));
    $("axis").addEventListener("input", ({ target }) => {
      const row = rows.get(state.id);
      if (!row?.own) return;
      row.axis = Math.min(Math.max(Math.round(Number(target.value)) || 0, 0), row.shape.length - 1);
      inView.postMessage({ type: "hold", id: row.id, about: { axis: row.axis } });
    });
    $("color").addEventListener("input", colored);
    let width = root.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(root.clientWidth - width) < 24 || !state.figures) return;
      width = root.clientWidth;
      for (const [name, chart] of Object.entries(charts)) drawn(name, chart(state.figures), widthOf(name));
    }).observe(root);

    const shown = about.tensors.filter((row) => row.held || row.histogram), first = shown.find((row) => row.role === "weight") ?? shown[0];
    if (first) open(first.id);
    else say("This model has no numbers to look at.");
    (async () => {
      await yieldToPage();
      if (about.ops.length) drawGraph();
      await yieldToPage();
      askModel();
      inView.postMessage({ type: "warm" });
      idle(ahead);
    })();
    return { state, open, openOp, rows, choice, given };
  }

  return { mount };
})();

for (const root of document.querySelectorAll("[data-explorer]")) root.explorer = IntactExplorer.mount(root);
