"use strict";
// The worker of the explorer: it holds the tensors that were asked for, and answers with figures. Two of them run, one for the
// tensor in view and one for the whole model, so that neither waits for the other.
const tensors = new Map(); // id -> { values, shape, axis, count, kept: granularity -> { groups, sorted } }
const awaited = new Map(); // id -> those who wait for its numbers
const latest = { choose: 0, model: 0 }; // tickets: what is older is given up
const SLICE = 48; // channels between two looks at what came meanwhile

const turns = new MessageChannel(), waiting = []; // setTimeout waits 4 ms once it is called in a row
turns.port1.onmessage = () => waiting.shift()();

// Lets messages that came meanwhile be heard; false when one of them made this one old.
async function stillAsked(type, ticket) {
  await new Promise((done) => {
    waiting.push(done);
    turns.port2.postMessage(null);
  });
  return latest[type] === ticket;
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // browsers of 2025
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpacked(base64, count) {
  const plain = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(plain).arrayBuffer()), words = new Uint32Array(count);
  if (planes.length !== 4 * count) throw new Error("The numbers in this page are damaged.");
  for (let i = 0; i < count; i++) {
    words[i] = planes[i] | (planes[count + i] << 8) | (planes[2 * count + i] << 16) | (planes[3 * count + i] << 24);
  }
  return new Float32Array(words.buffer);
}

function keep(id, values, { shape, axis, count, estimated }) {
  const tensor = { values, shape, axis, count: count ?? values.length, estimated: Boolean(estimated), kept: new Map() };
  tensors.set(id, tensor);
  for (const done of awaited.get(id) ?? []) done(tensor);
  awaited.delete(id);
  return tensor;
}

function tensorOf(id) {
  if (tensors.has(id)) return tensors.get(id);
  return new Promise((done) => {
    if (!awaited.has(id)) {
      awaited.set(id, []);
      postMessage({ type: "need", id });
    }
    awaited.get(id).push(done);
  });
}

function groupsOf(tensor, choice) {
  const name = choice.perChannel && tensor.axis !== null;
  if (!tensor.kept.has(name)) {
    const groups = IntactNumbers.groupsOf(tensor.values, tensor.shape, tensor.axis, choice), sorted = [];
    tensor.kept.set(name, { groups, sorted: (k) => (sorted[k] ??= IntactNumbers.inOrder(groups[k])) });
  }
  return tensor.kept.get(name);
}

// The figures of one group at once, then what the others add up to.
async function choose({ ticket, id, choice, channel }) {
  const tensor = await tensorOf(id);
  if (!(await stillAsked("choose", ticket))) return;
  const { groups, sorted } = groupsOf(tensor, choice), k = Math.min(channel, groups.length - 1);
  // A group of zeros takes the scale of its neighbours: then all grids are made first.
  const alone = groups.length > 1 && groups[k].some((value) => value !== 0);
  const grids = alone ? null : IntactNumbers.gridsOf(groups, choice, sorted);
  const grid = alone ? IntactNumbers.gridsOf([groups[k]], choice, () => sorted(k))[0] : grids[k];
  const figures = IntactNumbers.figuresOf(groups[k], grid, choice, sorted(k));
  if (tensor.estimated) figures.bytes += Math.ceil((tensor.count * choice.bits) / 8) - Math.ceil((figures.count * choice.bits) / 8);
  postMessage({ type: "figures", ticket, id, channel: k, groups: groups.length, estimated: tensor.estimated, figures });
  const parts = [], zeros = groups.some((x) => x.every((value) => value === 0)), slice = zeros || grids ? groups.length : SLICE;
  for (let from = 0; from < groups.length; from += slice) {
    if (!(await stillAsked("choose", ticket))) return;
    const some = groups.slice(from, from + slice);
    const made = grids ?? IntactNumbers.gridsOf(some, choice, (n) => sorted(from + n));
    some.forEach((x, n) => parts.push(IntactNumbers.sumsOf(x, made[n], choice)));
  }
  const sums = IntactNumbers.together(parts);
  const sqnr = Float64Array.from(parts, (part) => IntactNumbers.decibels(part.signal, part.noise));
  if (tensor.estimated) sums.bytes = figures.bytes;
  postMessage({ type: "sums", ticket, id, sums, sqnr });
}

// Every weight stored as chosen, tensor by tensor; a newer choice takes over between two of them.
async function model({ ticket, choice, ids }) {
  const rows = [];
  for (const id of ids) {
    const tensor = await tensorOf(id), { groups, sorted } = groupsOf(tensor, choice);
    const grids = IntactNumbers.gridsOf(groups, choice, sorted);
    rows.push({ id, ...IntactNumbers.together(groups.map((x, k) => IntactNumbers.sumsOf(x, grids[k], choice))) });
    if (rows.length % 8 === 0) postMessage({ type: "progress", ticket, done: rows.length, of: ids.length });
    if (!(await stillAsked("model", ticket))) return;
  }
  postMessage({ type: "model", ticket, rows });
}

async function hold({ id, packed, histogram, npy, about }) {
  if (packed) {
    keep(id, await unpacked(packed, about.count), about);
    postMessage({ type: "held", id });
  } else if (histogram) keep(id, IntactNumbers.fromHistogram(histogram), { ...about, estimated: true });
  else if (npy) {
    const { shape, values } = IntactNpy.parse(npy);
    keep(id, values, { shape, axis: about.axis === null ? null : Math.min(about.axis, shape.length - 1) });
    postMessage({ type: "read", id, shape, count: values.length });
  } else {
    const held = await tensorOf(id); // another axis of the same numbers
    keep(id, held.values, { ...held, axis: about.axis });
    postMessage({ type: "read", id, shape: held.shape, count: held.count });
  }
}

// Everything once for a few numbers, one at a time: a browser is quick at what it has done before.
async function warm() {
  const values = Float32Array.from({ length: 8192 }, (_, k) => Math.sin(k * k)), inOrder = IntactNumbers.inOrder(values);
  for (const levels of ["linear", "kmeans"]) for (const ranges of ["minmax", "percentile", "mse"]) for (const symmetric of [true, false]) {
    const choice = { bits: 4, symmetric, perChannel: false, ranges, levels, percent: 99 };
    const [grid] = IntactNumbers.gridsOf([values], choice, () => inOrder);
    IntactNumbers.figuresOf(values, grid, choice, inOrder);
    await stillAsked("choose", 0);
  }
}

const answers = { choose, model, hold, warm };
onmessage = ({ data }) => {
  if (data.ticket) latest[data.type] = data.ticket;
  answers[data.type](data).catch((error) => postMessage({ type: "failed", ticket: data.ticket, id: data.id, why: error.message }));
};
