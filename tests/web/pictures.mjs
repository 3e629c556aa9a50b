// SPDX-License-Identifier: AGPL-3.0-or-later
// Writes the pictures of docs/pictures anew: node tests/web/pictures.mjs; then pngquant and optipng make them small.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PHONE, start } from "./browser.mjs";
import { ALL } from "./facts.mjs";
import { ROOT, serve } from "./site.mjs";

const ADDRESS = "/a#lXUjJW5vHYQzoLYgmi8GbxkGP41_kjefFvBrdwg-0Ok";
const WIDE = { width: 960, height: 640 };
const PICTURES = [
  ["information", "/", { locale: "en", viewport: WIDE }],
  ["information-dark-ja", "/", { locale: "ja", colorScheme: "dark", viewport: PHONE }],
  ["link", ADDRESS, { locale: "en", viewport: WIDE }],
  ["link-dark-fr", ADDRESS, { locale: "fr", colorScheme: "dark", viewport: PHONE }],
  ["link-incomplete", "/i", { locale: "en", viewport: { width: 960, height: 460 } }],
  ["link-without-scripts", ADDRESS, { locale: "en", javaScriptEnabled: false, viewport: { width: 960, height: 460 } }],
  ["not-found", "/nothing", { locale: "en", viewport: { width: 960, height: 300 } }],
];

const [browser, site] = await Promise.all([start(), serve(ALL)]);
const folder = join(ROOT, "docs", "pictures");
mkdirSync(folder, { recursive: true });

async function show(path, options, use) {
  const context = await browser.newContext(options);
  // Under the name that a visitor would see.
  await context.route("https://smp.example.org/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    await route.fulfill({ response: await route.fetch({ url: site.url + pathname }) });
  });
  const page = await context.newPage();
  await page.goto(`https://smp.example.org${path}`);
  await use(page);
  await context.close();
}

for (const [name, path, options] of PICTURES) {
  await show(path, options, (page) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: true }));
}
await show(ADDRESS, { locale: "en", colorScheme: "dark" }, async (page) => {
  const file = join(folder, "link-printed");
  await page.pdf({ path: `${file}.pdf`, format: "A5", preferCSSPageSize: true });
  execFileSync("pdftoppm", ["-r", "96", "-png", "-singlefile", `${file}.pdf`, file]);
  rmSync(`${file}.pdf`);
});
await browser.close();
await site.close();
