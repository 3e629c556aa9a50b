// SPDX-License-Identifier: AGPL-3.0-or-later
// Makes pages/ and media/ out of src/; with --check, tells what there is not what src/ gives.
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
const PARTS = {
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
    for (const name of PAGES) yield [`pages/${name}${lang === "en" ? "" : `.${lang}`}.html`, page(name, text)];
  }
  yield ["media/style.css", `${BANNER}\n${minify(read("src", "style.css"))}`];
  yield ["media/link.js", bundle("link.js")];
  yield ["media/icon.svg", read("src", "icon.svg")];
  yield ["media/lean-qr.txt", read("node_modules", "lean-qr", "LICENSE")];
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
for (const folder of ["pages", "media"]) {
  for (const name of readdirSync(join(ROOT, folder))) {
    if (made.has(`${folder}/${name}`)) continue;
    console.log(`web/${folder}/${name} is made from nothing in web/src: remove it`);
    stale++;
  }
}
process.exitCode = stale > 0 ? 1 : 0;
