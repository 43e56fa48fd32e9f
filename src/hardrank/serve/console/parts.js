// What all sections share: elements, requests, tables, charts. All texts of others go in by
// textContent: they are written by whoever sells something.

const NAMESPACE = "http://www.w3.org/2000/svg";
const KEY = "hardrank-key";

const real = (children) => children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== "");
export const put = (place, ...children) => place.replaceChildren(...real(children));

function fill(made, about, children) {
  for (const [name, value] of Object.entries(about || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, value);
  }
  made.append(...real(children));
  return made;
}

export const el = (name, about, ...children) => fill(document.createElement(name), about, children);
export const svg = (name, about, ...children) =>
  fill(document.createElementNS(NAMESPACE, name), about, children);
export const find = (id) => document.getElementById(id);

// Requests

export const keyring = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (key) => sessionStorage.setItem(KEY, key),
  drop: () => sessionStorage.removeItem(KEY),
};

export class Refused extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

export async function call(method, path, body, key = keyring.get()) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path.slice(1), { method, headers, body: sent, cache: "no-store" });
  } catch {
    throw new Refused(0, "the service cannot be reached");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const wrong = new Refused(answer.status, said.error || `status ${answer.status}`, said.problems);
  if (answer.status === 401) document.dispatchEvent(new CustomEvent("signed-out", { detail: wrong }));
  throw wrong;
}

export function sentence(error) {
  if (!(error instanceof Refused)) throw error;
  const text = error.message[0].toUpperCase() + error.message.slice(1);
  const where = (error.problems || []).map((p) => `${p.where}: ${p.what}`).join("; ");
  return where ? `${text} (${where}).` : `${text}.`;
}

export const complaint = (error) => el("p", { class: "says", role: "alert" }, sentence(error));

let fading = 0;
export function toast(text, kind = "") {
  const place = find("toast");
  place.textContent = text;
  place.className = `shown ${kind}`;
  clearTimeout(fading);
  fading = setTimeout(() => { place.className = ""; place.textContent = ""; }, 6000);
}

// Words and numbers

// What a reader would not see, or would see elsewhere than it stands.
const HIDDEN = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}])/gu;
const code = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

export function shown(text) {
  const parts = String(text).split(HIDDEN).filter((part) => part !== "");
  return el("bdi", {}, parts.map((part) => part.replace(HIDDEN, "") === ""
    ? el("span", { class: "hidden-char", title: "a character that does not show" }, code(part))
    : part));
}

const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const when = (seconds) => el("time", { datetime: new Date(1000 * seconds).toISOString() },
  short.format(new Date(1000 * seconds)));
export const whole = (n) => new Intl.NumberFormat().format(n);
export const percent = (share, digits = 1) => share === null ? "–" : `${(100 * share).toFixed(digits)} %`;
export const ms = (value) => value === null ? "–" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;

export function duration(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = units.find(([size]) => seconds >= size) || [1, "second"];
  const n = Math.floor(seconds / size);
  return `${n} ${name}${n === 1 ? "" : "s"}`;
}

// Blocks

export const tile = (label, value, note, kind = "") => el("div", { class: `tile ${kind}` },
  el("dt", {}, label), el("dd", {}, value, note ? el("span", { class: "note" }, note) : null));

export function table(caption, heads, rows, empty) {
  if (!rows.length) return el("div", {}, el("h3", {}, caption), el("p", { class: "soft" }, empty));
  const cells = (row) => row.map((cell, n) => n
    ? el("td", { "data-head": heads[n] }, el("span", {}, cell))
    : el("th", { scope: "row" }, cell));
  return el("table", heads.length > 4 ? { class: "wide" } : {}, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, cells(row)))));
}

// lines: [{name, kind, points: [[x, y or null]]}]; x in unix seconds; width in pixels.
export function chart(title, lines, { unit, empty, digits = 0, width = 560 }) {
  const all = lines.flatMap((line) => line.points);
  const values = all.map(([, y]) => y).filter((y) => y !== null);
  const head = el("figcaption", {}, el("b", {}, title), lines.map((line) =>
    el("span", { class: `key ${line.kind}` }, shown(line.name), last(line, unit, digits))));
  if (values.length < 2) return el("figure", {}, head, el("p", { class: "soft blank" }, empty));
  const [height, left, bottom] = [190, 46, 22];
  const top = niceTop(Math.max(...values));
  const [from, to] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const x = (t) => left + (width - left - 8) * (to > from ? (t - from) / (to - from) : 1);
  const y = (v) => 8 + (height - bottom - 8) * (1 - v / top);
  const ticks = [0, 0.5, 1].map((share) => [
    svg("line", { x1: left, x2: width - 8, y1: y(share * top), y2: y(share * top), class: "rule" }),
    svg("text", { x: left - 6, y: y(share * top) + 4, class: "tick end" }, number(share * top, top)),
  ]);
  const ends = [[from, "tick"], [to, "tick end"]].map(([t, kind]) =>
    svg("text", { x: x(t), y: height - 4, class: kind }, clock(t, to - from)));
  return el("figure", {}, head, svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title}. ${lines.map((line) => line.name + last(line, unit, digits)).join(", ")}`,
  }, ticks, ends, lines.map((line) => svg("path", { d: path(line.points, x, y), class: `line ${line.kind}` }))));
}

function path(points, x, y) {
  let pen = "M", out = "";
  for (const [t, v] of points) {
    if (v === null) { pen = "M"; continue; }
    out += `${pen}${x(t).toFixed(1)} ${y(v).toFixed(1)}${pen === "M" ? "h.01" : ""}`; // a lone point is a dot
    pen = "L";
  }
  return out;
}

const last = (line, unit, digits) => {
  const known = line.points.filter(([, y]) => y !== null);
  return known.length ? `: ${known[known.length - 1][1].toFixed(digits)} ${unit}` : "";
};
const niceTop = (value) => {
  const size = 10 ** Math.floor(Math.log10(value || 1));
  return size * [1, 2, 5, 10].find((n) => n * size >= value);
};
const number = (value, top) => top < 1 ? value.toFixed(2) : top < 10 ? value.toFixed(1) : whole(Math.round(value));
const clock = (t, span) => new Date(1000 * t).toLocaleTimeString([], span > 7200
  ? { hour: "2-digit", minute: "2-digit" } : { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// Marks in a text: spans are counted in characters, as the service counts them.
export function marked(text, spans) {
  const letters = Array.from(text);
  const on = new Uint8Array(letters.length);
  for (const [start, end] of spans) on.fill(1, Math.max(0, start), Math.min(letters.length, end));
  const out = [];
  for (let n = 0, begun = 0; n <= letters.length; n++) {
    if (n < letters.length && on[n] === on[begun]) continue;
    const part = letters.slice(begun, n).join("");
    if (part) out.push(on[begun] ? el("mark", {}, shown(part)) : shown(part));
    begun = n;
  }
  return out;
}

// pieces: [["same" | "removed" | "added", text]]; spans are of the text without the removed.
export function difference(pieces, spans) {
  let at = 0;
  return pieces.map(([kind, text]) => {
    if (kind === "removed") return el("del", {}, shown(text));
    const length = Array.from(text).length;
    const inside = spans.map(([a, b]) => [a - at, b - at]);
    at += length;
    return kind === "added" ? el("ins", {}, marked(text, inside)) : el("span", {}, marked(text, inside));
  });
}
