// SPDX-License-Identifier: AGPL-3.0-or-later
// axe-core on every page, language, scheme and width; a picture of each is kept.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DESKTOP, PHONE, require, SCREENS, start, withPage } from "./browser.mjs";
import { ALL, LEAST } from "./facts.mjs";
import { LANGUAGES, serve } from "./site.mjs";

const axe = require("axe-core").source;
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const PAGES = [
  ["information", "/", ALL], ["least", "/", LEAST], ["not-found", "/nothing", ALL], ["incomplete", "/i", ALL],
  ["link", "/a#lXUjJW5vHYQzoLYgmi8GbxkGP41_kjefFvBrdwg-0Ok", ALL],
];

let browser, site;
before(async () => [browser, site] = await Promise.all([start(), serve(ALL)]));
after(async () => {
  await browser?.close();
  await site?.close();
});

async function violations(page) {
  await page.evaluate(axe);
  const report = await page.evaluate((rules) => window.axe.run(document, { runOnly: rules }), RULES);
  assert.ok(report.passes.length > 5, "axe looked at something");
  return report.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.target).join(", ")}`);
}

for (const locale of LANGUAGES) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, viewport] of [["phone", PHONE], ["desktop", DESKTOP]]) {
      test(`accessible: ${locale}, ${colorScheme}, ${width}`, () =>
        withPage(browser, { locale, colorScheme, viewport, bypassCSP: true }, async (page) => {
          for (const [name, path, facts] of PAGES) {
            site.facts = facts;
            await page.goto("about:blank");
            await page.goto(site.url + path);
            await page.screenshot({ path: join(SCREENS, `${name}-${locale}-${colorScheme}-${width}.png`), fullPage: true });
            assert.deepEqual(await violations(page), [], name);
          }
        }));
    }
  }
}
