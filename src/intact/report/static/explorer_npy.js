"use strict";
// A .npy file as { shape, values }: float32 numbers in C order. Versions 1 to 3; an Error says in one sentence what is wrong.
const IntactNpy = (() => {
  const MOST = 64_000_000; // numbers
  const integers = (bytes, signed) => ({
    size: bytes,
    at: (view, i, little) => {
      if (bytes === 8) return Number(signed ? view.getBigInt64(i, little) : view.getBigUint64(i, little));
      return view[`get${signed ? "Int" : "Uint"}${8 * bytes}`](i, little);
    },
  });
  const TYPES = {
    f2: { size: 2, at: (view, i, little) => half(view.getUint16(i, little)) },
    f4: { size: 4, at: (view, i, little) => view.getFloat32(i, little) },
    f8: { size: 8, at: (view, i, little) => view.getFloat64(i, little) },
    b1: { size: 1, at: (view, i) => (view.getUint8(i) ? 1 : 0) },
    i1: integers(1, true), i2: integers(2, true), i4: integers(4, true), i8: integers(8, true),
    u1: integers(1, false), u2: integers(2, false), u4: integers(4, false), u8: integers(8, false),
  };

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  function header(bytes) {
    const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
    if (bytes.length < 10 || magic.some((value, i) => bytes[i] !== value)) {
      throw new Error("This is no .npy file: write one with numpy.save.");
    }
    const version = bytes[6], view = new DataView(bytes.buffer, bytes.byteOffset);
    if (version < 1 || version > 3) throw new Error(`This .npy file has version ${version}; versions 1 to 3 can be read.`);
    if (version > 1 && bytes.length < 12) throw new Error("This .npy file ends within its header.");
    const start = version === 1 ? 10 : 12, length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
    if (start + length > bytes.length) throw new Error("This .npy file ends within its header.");
    return { text: new TextDecoder().decode(bytes.subarray(start, start + length)), body: bytes.subarray(start + length) };
  }

  function described(text) {
    const found = (name, pattern) => text.match(new RegExp(`['"]${name}['"]\\s*:\\s*${pattern}`))?.[1];
    const type = found("descr", "['\"]([^'\"]*)['\"]"), order = found("fortran_order", "(True|False)");
    const sizes = found("shape", "\\(([0-9,\\sL]*)\\)");
    if (order === undefined || sizes === undefined || (type === undefined && !text.includes("descr"))) {
      throw new Error("The header of this .npy file cannot be understood.");
    }
    const [, byteOrder, kind] = type?.match(/^([<>|=]?)([a-zA-Z][0-9]*)$/) ?? [];
    if (!Object.hasOwn(TYPES, kind ?? "")) {
      throw new Error(`Numbers of type ${type ?? "of several fields"} cannot be read; save float16, float32, float64 or integers.`);
    }
    const shape = sizes.split(",").map((size) => size.replace("L", "").trim()).filter((size) => size).map(Number);
    return { type: TYPES[kind], little: byteOrder !== ">", fortran: order === "True", shape };
  }

  function parse(buffer) {
    const { text, body } = header(new Uint8Array(buffer)), { type, little, fortran, shape } = described(text);
    const count = shape.reduce((a, b) => a * b, 1);
    if (count === 0) throw new Error("This array is empty.");
    if (count > MOST) throw new Error(`This array has ${count} numbers; at most ${MOST} can be shown.`);
    if (body.length !== count * type.size) {
      throw new Error(`This file holds ${body.length} bytes of numbers where its header says ${count * type.size}.`);
    }
    const view = new DataView(body.buffer, body.byteOffset, body.length), values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = type.at(view, i * type.size, little);
    const broken = values.reduce((n, value) => n + (Number.isFinite(value) ? 0 : 1), 0);
    if (broken) throw new Error(`${broken} of its numbers are not finite as float32.`);
    return { shape: shape.length ? shape : [1], values: fortran ? inCOrder(values, shape) : values };
  }

  function inCOrder(values, shape) {
    const steps = [], made = new Float32Array(values.length);
    shape.reduce((step, size) => (steps.push(step), step * size), 1);
    const at = shape.map(() => 0);
    for (let i = 0, from = 0; i < made.length; i++) {
      made[i] = values[from];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        at[axis] += 1;
        from += steps[axis];
        if (at[axis] < shape[axis]) break;
        from -= at[axis] * steps[axis];
        at[axis] = 0;
      }
    }
    return made;
  }

  return { parse };
})();
