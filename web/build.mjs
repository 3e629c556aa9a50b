// SPDX-License-Identifier: AGPL-3.0-or-later
// Makes pages/, media/ and dashboard/ out of src/; with --check, tells what there is not what src/ gives.
import { readFileSync, readdirSync, mkdirSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const ROOT = fileURLToPath(new URL(".", import.meta.url));
const LANGUAGES = ["en", "fr", "ja"];
const PAGES = ["index", "link", "404"];
const BANNER = "/* SPDX-License-Identifier: AGPL-3.0-or-later */";
const read = (...path) => readFileSync(join(ROOT, ...path), "utf8");

// What a page would repeat: [[link x]], [[country x]], [[contact x]], [[flag x]] and [[ttl]].
const TTL = ["month", "week", "day", "hour", "minute", "second"];

// The plots of the dashboard: a text of their title, unit, and series of /data.json; `note`: there is a text of what it means.
const PLOTS = [
  { id: "sent", unit: "rate", series: ["messages_sent", "messages_received"] },
  { id: "connections", unit: "rate", series: ["connections"] },
  { id: "clients", unit: "count", series: ["clients"] },
  { id: "answer", unit: "ms", series: ["answer_p50_ms", "answer_p99_ms"], note: true },
  { id: "commit", unit: "ms", series: ["commit_p50_ms", "commit_p99_ms"], note: true },
  { id: "queues", unit: "count", series: ["queues"] },
  { id: "stored", unit: "count", series: ["messages"] },
  { id: "memory", unit: "bytes", series: ["memory_bytes"] },
  { id: "disk", unit: "bytes", series: ["storage_bytes"] },
  { id: "errors", unit: "count", series: ["proxy_errors_connect", "proxy_errors_compat", "proxy_errors_other"], note: true },
  { id: "names", unit: "count", series: ["names_found", "names_unknown", "names_failed"], note: true },
];
const ONLY_IN_TABLE = { id: "free", unit: "bytes", series: ["storage_free_bytes"] };
const DASHES = ["", ' stroke-dasharray="7 4"', ' stroke-dasharray="2 4"'];
const label = ({ series }, name, t) => (series.length > 1 ? t[`dash.${name}`] : "");

function plot(each, t) {
  const swatch = (i) => `<svg class="of${i + 1}" viewBox="0 0 24 8" aria-hidden="true"><line x1="0" y1="4" x2="24" y2="4"${DASHES[i]}/></svg>`;
  const values = each.series.map((name, i) => `<li>${each.series.length > 1 ? `${swatch(i)}<span>${label(each, name, t)}</span>` : ""}<b>–</b></li>`);
  return `<figure data-unit="${each.unit}" data-series="${each.series.join(" ")}">
<figcaption><h3>${t[`dash.${each.id}`]}</h3>${each.note ? `<p>${t[`dash.${each.id}.note`]}</p>` : ""}</figcaption>
<ul class="now">${values.join("")}</ul>
<div class="draw" role="img" tabindex="0" aria-label="${t[`dash.${each.id}`]}"></div>
</figure>`;
}

const row = (each, name, text) =>
  `<tr data-series="${name}" data-unit="${each.unit}"><th scope="row">${text}</th><td>–</td><td>–</td><td>–</td></tr>`;

function rows(each, t) {
  const title = t[`dash.${each.id}`];
  if (each.series.length === 1) return `<tbody>${row(each, each.series[0], title)}</tbody>`;
  const all = each.series.map((name) => row(each, name, label(each, name, t)));
  return `<tbody class="group"><tr><th colspan="4" scope="rowgroup">${title}</th></tr>${all.join("")}</tbody>`;
}

const PARTS = {
  plots: (_, t) => PLOTS.map((each) => plot(each, t)).join("\n"),
  rows: (_, t) => [...PLOTS.slice(0, -1), ONLY_IN_TABLE, ...PLOTS.slice(-1)].map((each) => rows(each, t)).join("\n"),
  link: (x) => `{{#${x}_link}}<a href="{{${x}_link}}">{{${x}}}</a>{{/${x}_link}}{{^${x}_link}}{{${x}}}{{/${x}_link}}`,
  country: (x, t) => `{{#${x}_name}}{{${x}_name}}${t.open}{{${x}}}${t.close}{{/${x}_name}}{{^${x}_name}}{{${x}}}{{/${x}_name}}`,
  contact: (x, t) =>
    `{{#${x}_simplex_link}}<dd><a href="{{${x}_simplex_link}}">${t["about.simplex"]}</a></dd>{{/${x}_simplex_link}}` +
    `{{#${x}_email}}<dd><a href="mailto:{{${x}_email}}">{{${x}_email}}</a></dd>{{/${x}_email}}` +
    `{{#${x}_pgp_fingerprint}}<dd>${t["about.pgp"]} {{#${x}_pgp_link}}<a href="{{${x}_pgp_link}}">{{${x}_pgp_fingerprint}}</a>{{/${x}_pgp_link}}` +
    `{{^${x}_pgp_link}}{{${x}_pgp_fingerprint}}{{/${x}_pgp_link}}</dd>{{/${x}_pgp_fingerprint}}`,
  flag: (x, t) => `{{#${x}}}${t.yes}{{/${x}}}{{^${x}}}${t.no}{{/${x}}}`,
  ttl: (_, t) => TTL.map((u) => `{{#ttl_${u}s}}${t[`unit.${u}`]}${t.space}{{/ttl_${u}s}}`).join("") +
    `{{#ttl_zero}}${t["unit.zero"]}{{/ttl_zero}}`,
};

const unused = new Set(); // texts that no page has asked for yet

function page(name, text) {
  const seen = new Proxy(text, { get: (_, key) => (unused.delete(`${key} in ${text.lang}.json`), text[key]) });
  const used = (key, argument) => {
    if (key in PARTS) return PARTS[key](argument, seen);
    if (key.startsWith("here.")) return key === `here.${seen.lang}` ? ' aria-current="true"' : "";
    if (!(key in text)) throw new Error(`${name}.html: no text ${key} in ${text.lang}.json`);
    return seen[key];
  };
  const filled = read("src", `${name}.html`).replace(/\[\[([\w.]+)(?: (\w+))?\]\]/g, (_, key, argument) => used(key, argument));
  return filled.replace(/\n{2,}/g, "\n");
}

const minify = (text) => esbuild.transformSync(text, { loader: "css", minify: true }).code;
function bundle(name) {
  return esbuild.buildSync({
    entryPoints: [join(ROOT, "src", name)], bundle: true, minify: true, format: "esm", target: "es2020",
    write: false, legalComments: "none", banner: { js: BANNER },
  }).outputFiles[0].text;
}

function* results() {
  for (const lang of LANGUAGES) {
    const text = JSON.parse(read("src", "text", `${lang}.json`));
    for (const key in text) unused.add(`${key} in ${lang}.json`);
    const end = lang === "en" ? ".html" : `.${lang}.html`;
    for (const name of PAGES) yield [`pages/${name}${end}`, page(name, text)];
    yield [`dashboard/index${end}`, page("dashboard", text)];
  }
  yield ["media/style.css", `${BANNER}\n${minify(read("src", "style.css"))}`];
  yield ["media/link.js", bundle("link.js")];
  yield ["media/icon.svg", read("src", "icon.svg")];
  yield ["media/lean-qr.txt", read("node_modules", "lean-qr", "LICENSE")];
  const sheets = [read("src", "style.css"), read("node_modules", "uplot", "dist", "uPlot.min.css"), read("src", "dashboard.css")];
  yield ["dashboard/dashboard.css", `${BANNER}\n${minify(sheets.join("\n"))}`];
  yield ["dashboard/dashboard.js", bundle("dashboard.js")];
  yield ["dashboard/icon.svg", read("src", "icon.svg")];
  yield ["dashboard/uplot.txt", read("node_modules", "uplot", "LICENSE")];
}

const check = process.argv.includes("--check");
const made = new Map(results());
let stale = 0;
for (const text of unused) {
  console.log(`web/src/text: ${text} is used by no page`);
  stale++;
}
for (const [name, content] of made) {
  const path = join(ROOT, name);
  if (existsSync(path) && readFileSync(path, "utf8") === content) continue;
  if (check) {
    console.log(`web/${name} is not what web/src gives: run make web`);
    stale++;
  } else {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, content);
    console.log(`web/${name}`);
  }
}
for (const folder of ["pages", "media", "dashboard"]) {
  for (const name of readdirSync(join(ROOT, folder))) {
    if (made.has(`${folder}/${name}`)) continue;
    console.log(`web/${folder}/${name} is made from nothing in web/src: remove it`);
    stale++;
  }
}
process.exitCode = stale > 0 ? 1 : 0;
