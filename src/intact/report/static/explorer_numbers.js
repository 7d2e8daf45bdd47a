"use strict";
// The arithmetic of the explorer: intact/numbers/grids.py, bit for bit. Numbers, scales and levels are float32, errors and sums
// float64, and sums are taken in order. A test runs both on the same tensors and compares every figure.
const IntactNumbers = (() => {
  const PARTS = Array.from({ length: 40 }, (_, k) => (k === 0 ? 1 : 0.3 + (39 - k) * ((1 - 0.3) / 39)));
  const PATIENCE = 4;
  const SEARCHED = 2 ** 15;
  const ROUNDS = 50;
  const BINS = 128;
  const POINTS = 400;
  const PERCENTILES = [0.1, 1, 5, 25, 50, 75, 95, 99, 99.9];
  const NEAR = 0.01;
  const TINY = 2 ** -126; // the smallest normal float32
  const MIN_SCALE = 2 ** -24;
  const MAGIC = 1.5 * 2 ** 52; // adding and taking away rounds a float64 half to even

  const round = (x) => (Math.abs(x) < 2 ** 51 ? x + MAGIC - MAGIC : x);
  const clamp = (x, low, high) => (x < low ? low : x > high ? high : x);
  const decibels = (signal, noise) => (noise === 0 ? Infinity : 10 * Math.log10(signal / noise));

  function limits(choice) {
    const highest = 2 ** (choice.bits - 1) - 1;
    return [choice.symmetric ? -highest : -highest - 1, highest];
  }

  // Scale and zero point of the integers that cover a range that holds zero.
  function nudged(low, high, [lowest, highest]) {
    const scale = Math.fround(Math.max((high - low) / (highest - lowest), MIN_SCALE));
    return { scale, zero: clamp(round(lowest - low / scale), lowest, highest) };
  }

  function percentile(inOrder, percent) {
    const at = (percent / 100) * (inOrder.length - 1);
    const below = Math.min(Math.floor(at), inOrder.length - 1);
    const above = Math.min(below + 1, inOrder.length - 1);
    return inOrder[below] + (inOrder[above] - inOrder[below]) * (at - below);
  }

  // The squared error of a format, or anything above `most` once it is known to be that.
  function squaredError(x, { scale, zero }, [lowest, highest], most) {
    const from = lowest - zero, to = highest - zero, n = x.length;
    let sum = 0;
    for (let start = 0; start < n; start += 256) {
      const end = Math.min(start + 256, n);
      for (let i = start; i < end; i++) {
        let q = Math.fround(x[i] / scale) + MAGIC - MAGIC;
        q = q < from ? from : q > to ? to : q;
        const error = x[i] - Math.fround(q * scale);
        sum += error * error;
      }
      if (sum > most) return sum;
    }
    return sum;
  }

  // The numbers from the lowest to the highest, as Float32Array.sort has them: many are sorted by 11 bits of each at a time.
  function inOrder(values) {
    const n = values.length;
    if (n < 4096) return Float32Array.from(values).sort();
    let keys = new Uint32Array(Float32Array.from(values).buffer), next = new Uint32Array(n);
    for (let i = 0; i < n; i++) keys[i] = keys[i] & 0x80000000 ? ~keys[i] : keys[i] | 0x80000000; // as they follow each other
    for (const shift of [0, 11, 22]) {
      const at = new Uint32Array(2049);
      for (let i = 0; i < n; i++) at[((keys[i] >>> shift) & 2047) + 1] += 1;
      for (let k = 0; k < 2048; k++) at[k + 1] += at[k];
      for (let i = 0; i < n; i++) next[at[(keys[i] >>> shift) & 2047]++] = keys[i];
      [keys, next] = [next, keys];
    }
    for (let i = 0; i < n; i++) keys[i] = keys[i] & 0x80000000 ? keys[i] & 0x7fffffff : ~keys[i];
    return new Float32Array(keys.buffer);
  }

  // Which of the formats has the least squared error; the first of equals, of those tried until several in a row are worse.
  function best(x, formats, ends) {
    if (formats.length === 1) return 0;
    const step = Math.ceil(x.length / SEARCHED);
    const few = step === 1 ? x : new Float32Array(Math.ceil(x.length / step));
    if (step > 1) for (let i = 0; i < few.length; i++) few[i] = x[i * step];
    let found = 0, least = Infinity, worse = 0;
    for (let k = 0; k < formats.length && worse < PATIENCE; k++) {
      const error = squaredError(few, formats[k], ends, least);
      [found, least, worse] = error < least ? [k, error, 0] : [found, least, worse + 1];
    }
    return found;
  }

  // The percentile of magnitudes, walked to from both ends of the numbers in order.
  function percentileOfMagnitudes(inOrder, percent) {
    const n = inOrder.length, at = (percent / 100) * (n - 1), below = Math.min(Math.floor(at), n - 1);
    let first = 0, last = n - 1, lower = 0, upper = 0;
    for (let rank = n - 1; rank >= below; rank--) {
      upper = rank === n - 1 ? 0 : lower;
      lower = -inOrder[first] > inOrder[last] ? -inOrder[first++] : Math.abs(inOrder[last--]);
      if (rank === n - 1) upper = lower;
    }
    return lower + (upper - lower) * (at - below);
  }

  function extremes(x) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < x.length; i++) {
      if (x[i] < low) low = x[i];
      if (x[i] > high) high = x[i];
    }
    return [low, high];
  }

  function symmetric(x, choice, inOrder) {
    const ends = limits(choice), highest = ends[1], [low, high] = extremes(x);
    let largest = Math.max(-low, high);
    if (choice.ranges === "percentile") largest = percentileOfMagnitudes(inOrder(), choice.percent) || largest;
    if (largest === 0) return { scale: 0, zero: 0 };
    const parts = choice.ranges === "mse" ? PARTS : [1];
    const formats = parts.map((part) => ({ scale: Math.fround(Math.max((part * largest) / highest, TINY)), zero: 0 }));
    return formats[best(x, formats, ends)];
  }

  function asymmetric(x, choice, inOrder) {
    const ends = limits(choice);
    let [low, high] = extremes(x);
    if (choice.ranges === "percentile") {
      const values = inOrder(), tail = (100 - choice.percent) / 2;
      const inner = [percentile(values, tail), percentile(values, 100 - tail)];
      if (inner[0] || inner[1]) [low, high] = inner;
    }
    [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    if (choice.ranges !== "mse") return nudged(low, high, ends);
    const tried = (pairs) => pairs[best(x, pairs.map(([a, b]) => nudged(a, b, ends)), ends)];
    [low, high] = tried(PARTS.map((part) => [part * low, part * high]));
    [low, high] = tried(PARTS.map((part) => [part * low, high]));
    [low, high] = tried(PARTS.map((part) => [low, part * high]));
    return nudged(low, high, ends);
  }

  // How many of the numbers in order are at most `end`, which is no fewer than `start`.
  function upTo(inOrder, end, start) {
    const n = inOrder.length;
    let low = start, high = start, step = 1;
    while (high < n && inOrder[high] <= end) {
      low = high + 1;
      high += step;
      step *= 2;
    }
    high = Math.min(high, n);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (inOrder[middle] <= end) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // k-means of one dimension: every level goes to the mean of what it stores, until none moves.
  function moved(inOrder, start) {
    const n = inOrder.length, sums = new Float64Array(n + 1), k = start.length;
    for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + inOrder[i];
    let levels = Float64Array.from(start), next = new Float64Array(k);
    for (let turn = 0, still = false; turn < ROUNDS && !still; turn++) {
      let first = 0;
      still = true;
      for (let j = 0; j < k; j++) {
        const last = j === k - 1 ? n : upTo(inOrder, (levels[j] + levels[j + 1]) / 2, first);
        next[j] = last > first ? (sums[last] - sums[first]) / (last - first) : levels[j];
        if (next[j] !== levels[j]) still = false;
        first = last;
      }
      [levels, next] = [next, levels];
    }
    return Float32Array.from(levels);
  }

  // The numbers that share a grid: all of them, or those of each channel, in the tensor's order.
  function groupsOf(values, shape, axis, choice) {
    if (axis === null || !choice.perChannel) return [values];
    const channels = shape[axis];
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1), outer = values.length / channels / inner;
    return Array.from({ length: channels }, (_, channel) => {
      const group = new Float32Array(outer * inner);
      let at = 0;
      for (let a = 0; a < outer; a++) {
        const start = (a * channels + channel) * inner;
        for (let b = 0; b < inner; b++) group[at++] = values[start + b];
      }
      return group;
    });
  }

  // `sorted(k)`: the numbers of group k in order, kept by whoever calls.
  function gridsOf(groups, choice, sorted) {
    const [lowest, highest] = limits(choice);
    const found = groups.map((x, k) => (choice.symmetric ? symmetric : asymmetric)(x, choice, () => sorted(k)));
    const widest = found.reduce((most, { scale }) => Math.max(most, scale), 0) || 1;
    return found.map(({ scale, zero }, k) => {
      const step = scale || widest;
      const levels = new Float32Array(highest - lowest + 1);
      for (let i = 0; i < levels.length; i++) levels[i] = (lowest - zero + i) * step;
      if (choice.levels === "linear") return { levels, lowest, scale: step, zero };
      return { levels: moved(sorted(k), levels), lowest, scale: null, zero: null };
    });
  }

  // Which level each number becomes.
  function indicesOf(x, grid) {
    const found = new Uint8Array(x.length), last = grid.levels.length - 1;
    if (grid.scale !== null) {
      for (let i = 0; i < x.length; i++) {
        const q = Math.fround(x[i] / grid.scale) + MAGIC - MAGIC + grid.zero - grid.lowest;
        found[i] = q < 0 ? 0 : q > last ? last : q;
      }
      return found;
    }
    const ends = new Float64Array(last);
    for (let k = 0; k < last; k++) ends[k] = (grid.levels[k] + grid.levels[k + 1]) / 2;
    if (x.length < 4096) {
      for (let i = 0; i < x.length; i++) {
        let low = 0, high = last; // the first end that is not below the number
        while (low < high) {
          const middle = (low + high) >> 1;
          if (ends[middle] < x[i]) low = middle + 1;
          else high = middle;
        }
        found[i] = low;
      }
      return found;
    }
    // A table of where to begin: ends of a lower bin than the number's are below it, as bins keep the order.
    const low = ends[0], width = ends[last - 1] - low || 1, bins = 2048, start = new Uint8Array(bins + 1);
    const bin = (value) => (value <= low ? 0 : Math.min(Math.floor(((value - low) / width) * bins), bins));
    for (let k = 0, b = 0; b <= bins; b++) {
      while (k < last && bin(ends[k]) < b) k++;
      start[b] = k;
    }
    for (let i = 0; i < x.length; i++) {
      let k = start[bin(x[i])];
      while (k < last && ends[k] < x[i]) k++;
      found[i] = k;
    }
    return found;
  }

  function storedBytes(count, grid, choice) {
    const beside = grid.scale === null ? 4 * grid.levels.length : choice.symmetric ? 4 : 5;
    return Math.ceil((count * choice.bits) / 8) + beside;
  }

  // The sums alone, which is all that a whole model needs.
  function sumsOf(x, grid, choice) {
    const found = indicesOf(x, grid), occupancy = new Uint32Array(grid.levels.length);
    let signal = 0, noise = 0, worst = 0, sizes = 0;
    for (let i = 0; i < x.length; i++) {
      const error = x[i] - grid.levels[found[i]], size = Math.abs(error);
      occupancy[found[i]] += 1;
      signal += x[i] * x[i];
      noise += error * error;
      sizes += size;
      if (size > worst) worst = size;
    }
    let used = 0;
    for (const count of occupancy) used += count > 0 ? 1 : 0;
    return {
      count: x.length, signal, noise, worst, sizes, used, occupancy, found, levels: grid.levels.length,
      bound: grid.scale === null ? null : grid.scale / 2, bytes: storedBytes(x.length, grid, choice),
    };
  }

  function counted(x, low, high) {
    const counts = new Uint32Array(BINS), last = BINS - 1, width = high - low;
    if (width === 0) counts[0] = x.length;
    else {
      for (let i = 0; i < x.length; i++) {
        const at = ((x[i] - low) / width) * BINS;
        counts[at > last ? last : at | 0] += 1;
      }
    }
    return counts;
  }

  // All that there is to know of one group on its grid.
  function figuresOf(x, grid, choice, inOrder) {
    const sums = sumsOf(x, grid, choice), n = x.length, { levels } = grid, { found, worst, bound } = sums;
    const low = inOrder[0], high = inOrder[n - 1];
    const errors = new Float64Array(n);
    let sum = 0, spread = 0, nearZero = 0, clipped = 0;
    for (let i = 0; i < n; i++) {
      sum += x[i];
      errors[i] = x[i] - levels[found[i]];
    }
    const mean = sum / n, near = NEAR * Math.max(-low, high);
    for (let i = 0; i < n; i++) {
      spread += (x[i] - mean) * (x[i] - mean);
      if (Math.abs(x[i]) <= near) nearZero += 1;
      if (bound !== null && (x[i] < levels[0] - bound || x[i] > levels[levels.length - 1] + bound)) clipped += 1;
    }
    const points = Math.min(n, POINTS), scatter = [];
    const sample = Float32Array.from({ length: points }, (_, k) => inOrder[points > 1 ? Math.floor((k * (n - 1)) / (points - 1)) : 0]);
    const became = indicesOf(sample, grid);
    sample.forEach((value, k) => scatter.push([value, levels[became[k]]]));
    return {
      count: n, low, high, mean, deviation: Math.sqrt(spread / n), nearZero,
      percentiles: PERCENTILES.map((p) => percentile(inOrder, p)),
      signal: sums.signal, noise: sums.noise, sqnr: decibels(sums.signal, sums.noise), worst, meanError: sums.sizes / n,
      bytes: sums.bytes, used: sums.used, occupancy: sums.occupancy, levels,
      histogram: counted(x, low, high),
      errors: counted(errors, -worst, worst),
      scale: grid.scale, zeroPoint: grid.zero, bound, clipped: bound === null ? null : clipped, scatter,
    };
  }

  // The sums of several groups put together.
  function together(parts) {
    const all = { count: 0, signal: 0, noise: 0, worst: 0, sizes: 0, used: 0, levels: 0, bytes: 0, bound: 0 };
    for (const part of parts) {
      for (const name of ["count", "signal", "noise", "sizes", "used", "levels", "bytes"]) all[name] += part[name];
      all.worst = Math.max(all.worst, part.worst);
      all.bound = part.bound === null || all.bound === null ? null : Math.max(all.bound, part.bound);
    }
    return { ...all, sqnr: decibels(all.signal, all.noise), meanError: all.sizes / all.count };
  }

  // A tensor's numbers from its histogram: as many as asked for, spread evenly within each bin.
  function fromHistogram({ low, high, counts }, most = 8192) {
    const all = counts.reduce((a, b) => a + b, 0), n = Math.min(all, most), values = new Float32Array(n);
    let bin = 0, before = 0;
    for (let i = 0; i < n; i++) {
      const at = ((i + 0.5) / n) * all;
      while (before + counts[bin] < at) before += counts[bin++];
      values[i] = low + ((bin + (at - before) / counts[bin]) / counts.length) * (high - low);
    }
    return values;
  }

  return {
    BINS, PERCENTILES, NEAR, decibels, inOrder, groupsOf, gridsOf, sumsOf, figuresOf, together, fromHistogram,
  };
})();
