// SPDX-License-Identifier: AGPL-3.0-or-later
// Writes docs/pictures/sheet.png: each page in light and dark, on a computer and on a phone, side by side, to be looked at when
// something of the pages has changed. node tests/web/sheet.mjs; then pngquant and optipng make it small.
import { join } from "node:path";
import { PHONE, start } from "./browser.mjs";
import { ALL } from "./facts.mjs";
import { ROOT, serve } from "./site.mjs";

const ADDRESS = "/a#lXUjJW5vHYQzoLYgmi8GbxkGP41_kjefFvBrdwg-0Ok";
const PAGES = [["/", "en"], ["/", "ja"], [ADDRESS, "en"], [ADDRESS, "fr"], ["/i", "en"], ["/nothing", "fr"]];
const SIZES = [{ width: 1024, height: 768 }, PHONE];
const TALLEST = 1100; // of what is shown of a page
const SCALE = 0.3;

const [browser, site] = await Promise.all([start(), serve(ALL)]);

async function picture(path, locale, viewport, colorScheme) {
  const context = await browser.newContext({ locale, viewport, colorScheme, isMobile: viewport === PHONE });
  // Under the name that a visitor would see.
  await context.route("https://smp.example.org/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    await route.fulfill({ response: await route.fetch({ url: site.url + pathname }) });
  });
  const page = await context.newPage();
  await page.goto(`https://smp.example.org${path}`);
  const height = Math.min(TALLEST, await page.evaluate(() => document.documentElement.scrollHeight));
  const png = await page.screenshot({ fullPage: true, clip: { x: 0, y: 0, width: viewport.width, height } });
  await context.close();
  return `<img src="data:image/png;base64,${png.toString("base64")}" width="${Math.round(viewport.width * SCALE)}">`;
}

const rows = [];
for (const [path, locale] of PAGES) {
  const row = [];
  for (const scheme of ["light", "dark"]) {
    for (const size of SIZES) row.push(await picture(path, locale, size, scheme));
  }
  rows.push(`<div>${row.join("")}</div>`);
}
const context = await browser.newContext({ viewport: { width: 920, height: 600 }, deviceScaleFactor: 1.5 });
const page = await context.newPage();
await page.setContent(`<!doctype html><style>body { margin: 12px; background: #888 }
  div { display: flex; gap: 12px; align-items: flex-start; margin-bottom: 12px } img { display: block }</style>${rows.join("")}`);
await page.screenshot({ path: join(ROOT, "docs", "pictures", "sheet.png"), fullPage: true });
await browser.close();
await site.close();
