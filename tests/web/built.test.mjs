// SPDX-License-Identifier: AGPL-3.0-or-later
// What can be said of the pages without a browser.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ALL, HOSTILE, LEAST } from "./facts.mjs";
import { fill, WEB } from "./site.mjs";
import { require } from "./browser.mjs";

const { HtmlValidate } = require("html-validate");
const validator = new HtmlValidate({ root: true, extends: ["html-validate:recommended"] });
const pages = ["pages", "dashboard"].flatMap((folder) => readdirSync(join(WEB, folder)).filter((name) => name.endsWith(".html"))
  .map((name) => `${folder}/${name}`));
const page = (name) => readFileSync(join(WEB, name), "utf8");
const WHERE_APPS_ARE = [
  "https://apps.apple.com/us/app/simplex-chat/id1605771084", "https://play.google.com/store/apps/details?id=chat.simplex.app",
  "https://simplex.chat/fdroid", "https://simplex.chat/downloads",
];

test("web/pages, web/media and web/dashboard are what web/src gives", () => {
  execFileSync(process.execPath, [join(WEB, "build.mjs"), "--check"], { stdio: "inherit" });
});

test("packages are pinned, with their hashes and without a registry's address", () => {
  const { packages } = JSON.parse(readFileSync(join(WEB, "package-lock.json"), "utf8"));
  for (const [name, entry] of Object.entries(packages)) {
    if (name === "") continue;
    assert.match(entry.integrity, /^sha512-/, name);
    assert.equal(entry.resolved, undefined, name);
  }
  for (const version of Object.values(packages[""].devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/);
});

test("well-known files name the apps and the paths of links", () => {
  const apple = JSON.parse(readFileSync(join(WEB, "well-known", "apple-app-site-association"), "utf8"));
  assert.deepEqual(apple.applinks.details[0].appIDs, ["5NN7GUYB6T.chat.simplex.app"]);
  const paths = ["contact", "invitation", "a", "c", "g", "i"].flatMap((name) => [{ "/": `/${name}/*` }, { "/": `/${name}` }]);
  assert.deepEqual(apple.applinks.details[0].components, paths);
  const [android] = JSON.parse(readFileSync(join(WEB, "well-known", "assetlinks.json"), "utf8"));
  assert.deepEqual(android.relation, ["delegate_permission/common.handle_all_urls"]);
  assert.equal(android.target.package_name, "chat.simplex.app");
  const prints = android.target.sha256_cert_fingerprints;
  assert.deepEqual(prints.map((print) => print.slice(0, 11)), ["5E:3E:DC:C2", "3C:52:C4:FD", "AE:C1:95:DC"]);
  for (const print of prints) assert.match(print, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
});

test("countries have a name in each language", () => {
  const rows = readFileSync(join(WEB, "countries.tsv"), "utf8").split("\n").filter((line) => line !== "" && line[0] !== "#");
  assert.ok(rows.length >= 249);
  assert.deepEqual(rows, [...rows].sort((a, b) => (a < b ? -1 : 1)));
  for (const row of rows) assert.match(row, /^[A-Z]{2}(\t[^\t]+){3}$/);
});

test("French signs of two parts never begin a line", () => {
  const texts = JSON.parse(readFileSync(join(WEB, "src", "text", "fr.json"), "utf8"));
  for (const [key, text] of Object.entries(texts)) assert.doesNotMatch(text, / [:;?!»]/, key);
});

for (const name of pages) {
  test(`${name}: valid HTML, whatever the server tells`, async () => {
    for (const facts of [ALL, LEAST, HOSTILE]) {
      const report = await validator.validateString(fill(page(name), facts));
      assert.deepEqual(report.results.flatMap((result) => result.messages.map((m) => `${m.line}: ${m.message}`)), []);
    }
  });

  test(`${name}: nothing inline, nothing from elsewhere`, () => {
    const text = page(name);
    assert.doesNotMatch(text, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:/);
    for (const [, url] of text.matchAll(/\s(?:src|href)="([^"]*)"/g)) {
      const isOurs = url.startsWith("/") || url.startsWith("#") || url.startsWith("{{") || url.startsWith("mailto:{{");
      assert.ok(isOurs || WHERE_APPS_ARE.includes(url), url);
    }
  });
}
