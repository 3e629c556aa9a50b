// SPDX-License-Identifier: AGPL-3.0-or-later
// Draws what /data.json tells, and asks it for more every five seconds. All words are in the page; the plots are uPlot's (uplot.txt).
import uPlot from "uplot";

const ASK_MS = 5000;
const KEPT = { 5: 180, 60: 1440 }; // points of each length of step
const SHOWN_S = { 5: 900, 60: 86400 };
const LEAST_S = 60; // of time that is drawn
const SOON_DAYS = 14;
const DASHES = [[], [7, 4], [2, 4]];
const MINUTES = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((n) => 60 * n);
const COUNTS = Array.from({ length: 36 }, (_, i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3));
const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i);

const words = document.getElementById("main").dataset;
const lang = document.documentElement.lang;
const byId = (id) => document.getElementById(id);
const number = (options) => new Intl.NumberFormat(lang, options);
const dateTime = (options) => new Intl.DateTimeFormat(lang, options);

// ---- values as text ----

const clock = dateTime({ hour: "2-digit", minute: "2-digit" });
const seconds = dateTime({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = dateTime({ dateStyle: "medium", timeStyle: "short" });
const days = number({ style: "unit", unit: "day", unitDisplay: "long" });
const whole = number({ maximumFractionDigits: 0 });
const short = number({ notation: "compact", maximumFractionDigits: 1 });
const precise = number({ maximumSignificantDigits: 3 });
const few = (v) => (v >= 1000 ? whole : precise).format(v);

function bytes(v) {
  const names = words.kib.split(" "); // from the bytes up
  const power = v < 1 ? 0 : Math.min(Math.floor(Math.log2(v) / 10), names.length - 1);
  return `${precise.format(v / 1024 ** power)}\u00a0${names[power]}`;
}

const UNITS = { rate: few, count: (v) => whole.format(v), ms: (v) => (v < 1000 ? `${few(v)}\u00a0ms` : `${few(v / 1000)}\u00a0s`), bytes };
const TICKS = { ...UNITS, rate: (v) => short.format(v), count: (v) => short.format(v) };
const shown = (unit, v) => (v === null || v === undefined ? "–" : UNITS[unit](v));

// ---- what is known ----

let steps = {}; // length of step -> { time: [], name: [], ... }
let began;
let now = 0; // at the server
let last = 0; // time of the last point

function take(data) {
  if (began !== undefined && began !== data.began) steps = {};
  ({ began, now } = data);
  for (const { step, ...series } of data.steps) {
    const known = steps[step] ??= {};
    const end = known.time?.at(-1) ?? 0;
    const from = series.time.filter((t) => t <= end).length;
    for (const [name, values] of Object.entries(series)) {
      known[name] = [...(known[name] ?? []), ...values.slice(from)].slice(-KEPT[step]);
    }
  }
  last = Math.max(0, ...Object.values(steps).map((each) => each.time.at(-1) ?? 0));
}

const range = () => Number(document.querySelector("[name=range]:checked").value);

// Of the series, with a hole where points are missing: the machine slept, or did not get to it.
function columns(names) {
  const step = range();
  const { time = [], ...series } = steps[step] ?? {};
  const result = [[], ...names.map(() => [])];
  time.forEach((t, i) => {
    if (i > 0 && t - time[i - 1] > 2.5 * step) [(time[i - 1] + t) / 2, ...names.map(() => null)].forEach((v, n) => result[n].push(v));
    [t, ...names.map((name) => series[name][i])].forEach((v, n) => result[n].push(v));
  });
  return result;
}

// Now, lowest and highest.
function summary(name) {
  const all = steps[range()]?.[name] ?? [];
  const there = all.filter((v) => v !== null);
  if (there.length === 0) return [null, null, null];
  return [all.at(-1), there.reduce((a, b) => Math.min(a, b)), there.reduce((a, b) => Math.max(a, b))];
}

// ---- plots ----

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const figures = [...document.querySelectorAll("figure")].map((element) => ({
  draw: element.querySelector(".draw"),
  names: element.dataset.series.split(" "),
  unit: element.dataset.unit,
  title: element.querySelector("h3").textContent,
  labels: element.dataset.series.split(" ").map((_, i) => element.querySelectorAll(".now span")[i]?.textContent),
  outputs: [...element.querySelectorAll(".now b")],
  at: element.querySelector(".draw").appendChild(document.createElement("p")),
}));

function axis(extra) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--quiet"), font, grid: line, ticks: { ...line, size: 4 }, ...extra };
}

function times() {
  const end = last || now;
  return [Math.min(Math.max(began, end - SHOWN_S[range()]), end - LEAST_S), end];
}

// No line leads to a point between two holes.
const alone = (plot, series) => plot.data[series].flatMap((v, i, all) =>
  (v !== null && (all[i - 1] ?? null) === null && (all[i + 1] ?? null) === null ? [i] : []));

function options(figure) {
  const strokes = ["--first", "--second", "--third"].map(colour);
  return {
    width: Math.max(figure.draw.clientWidth, 100), height: figure.draw.clientHeight, legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "all" }, points: { size: 8 } },
    scales: { x: { range: times }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    series: [{}, ...figure.names.map((_, i) => ({
      stroke: strokes[i], width: 2, dash: DASHES[i], points: { show: false, filter: alone, size: 5 },
      fill: figure.names.length === 1 && strokes[0][0] === "#" ? `${strokes[0]}22` : undefined,
    }))],
    axes: [
      axis({ size: 28, space: 80, incrs: MINUTES, values: (_, ticks) => ticks.map((t) => clock.format(t * 1000)) }),
      axis({
        size: 66, space: 32, values: (_, ticks) => ticks.map((v) => TICKS[figure.unit](v)),
        ...(figure.unit === "bytes" ? { incrs: POWERS } : {}),
        ...(figure.unit === "count" ? { incrs: COUNTS } : {}),
      }),
    ],
    hooks: { setCursor: [() => tellValues(figure)] },
  };
}

// Beside their names: at the cursor, or now.
function tellValues({ plot, names, unit, outputs, at }) {
  const i = plot?.cursor.idx ?? null;
  names.forEach((name, n) => {
    outputs[n].textContent = shown(unit, i === null ? summary(name)[0] : plot.data[n + 1][i]);
  });
  at.textContent = i === null ? "" : seconds.format(plot.data[0][i] * 1000);
}

const named = (label, text) => (label === undefined ? text : `${label}${words.colon}${text}`);

function alternative(figure) {
  return [figure.title, ...figure.names.map((name, i) => {
    const [now, low, high] = summary(name).map((v) => shown(figure.unit, v));
    return named(figure.labels[i], words.alt.replace("{now}", now).replace("{low}", low).replace("{high}", high));
  })].join(". ");
}

function draw() {
  for (const figure of figures) {
    figure.plot ??= new uPlot(options(figure), columns(figure.names), figure.draw);
    figure.plot.setData(columns(figure.names));
    tellValues(figure);
    // A reader that is on it would read it all anew.
    if (document.activeElement !== figure.draw) figure.draw.setAttribute("aria-label", alternative(figure));
  }
  for (const row of document.querySelectorAll("tr[data-series]")) {
    const values = summary(row.dataset.series);
    [...row.querySelectorAll("td")].forEach((cell, i) => { cell.textContent = shown(row.dataset.unit, values[i]); });
  }
}

function drawAnew() {
  for (const figure of figures) {
    figure.plot?.destroy();
    delete figure.plot;
  }
  draw();
}

// ---- keyboard ----

function moveTo(figure, i) {
  const { plot, names, unit, labels } = figure;
  if (i < 0 || i >= plot.data[0].length) return;
  for (const each of figures) each.plot.setCursor({ left: each.plot.valToPos(plot.data[0][i], "x"), top: 0 });
  const at = seconds.format(plot.data[0][i] * 1000);
  const values = names.map((_, n) => named(labels[n], shown(unit, plot.data[n + 1][i]))).join(", ");
  byId("at").textContent = `${at}${words.colon}${values}`;
}

function onKey(figure, event) {
  const { plot } = figure;
  const end = plot.data[0].length - 1;
  const here = plot.cursor.idx ?? end + 1;
  const far = Math.max(1, Math.round(end / 10));
  const to = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: Math.max(0, here - far), PageDown: Math.min(end, here + far), Home: 0, End: end }[event.key];
  if (event.key === "Escape") leave();
  if (to === undefined) return;
  event.preventDefault();
  moveTo(figure, Math.min(Math.max(to, 0), end));
}

function leave() {
  byId("at").textContent = "";
  for (const figure of figures) figure.plot?.setCursor({ left: -10, top: -10 });
}

// ---- facts ----

function tellFact(id, text, isBad = false) {
  byId(id).textContent = text;
  byId(id).classList.toggle("bad", isBad);
}

function tellFacts(data) {
  tellFact("since", moment.format(data.started * 1000));
  for (const id of ["smp", "web"]) {
    const left = data.certificate_days[id];
    tellFact(id, left === null ? words.none : days.format(left), left !== null && left < SOON_DAYS);
  }
  tellFact("storage", words[`storage${data.storage_state}`], data.storage_state !== 0);
}

// ---- asking ----

let lost = null; // since when there is no answer

// Said once; what changes every five seconds is not said at all.
function tellConnection(answered) {
  if (!answered && lost === null) {
    lost = Date.now();
    byId("said").textContent = words.lost.replace("{time}", clock.format(lost));
  } else if (answered && lost !== null) {
    lost = null;
    byId("said").textContent = words.back;
    setTimeout(() => { if (lost === null) byId("said").textContent = ""; }, ASK_MS);
  }
}

async function ask() {
  const before = began;
  const answer = await fetch(last === 0 ? "/data.json" : `/data.json?since=${last}`, { signal: AbortSignal.timeout(2 * ASK_MS) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const data = await answer.json();
  take(data);
  tellFacts(data);
  draw();
  if (before !== undefined && before !== data.began) {
    last = 0; // all of what has begun anew
    steps = {};
    await ask();
  }
}

let timer;
async function askOn() {
  clearTimeout(timer);
  try {
    await ask();
    tellConnection(true);
  } catch {
    tellConnection(false);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(askOn, ASK_MS);
}

for (const figure of figures) {
  figure.draw.addEventListener("keydown", (event) => onKey(figure, event));
  figure.draw.addEventListener("blur", leave);
}
for (const input of document.querySelectorAll("[name=range]")) input.addEventListener("change", drawAnew);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(query).addEventListener("change", drawAnew);
document.addEventListener("visibilitychange", () => { if (!document.hidden) askOn(); });
new ResizeObserver(() => {
  for (const { plot, draw: place } of figures) plot?.setSize({ width: place.clientWidth, height: place.clientHeight });
}).observe(document.querySelector(".plots"));
askOn();
