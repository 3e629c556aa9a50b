// SPDX-License-Identifier: AGPL-3.0-or-later
// Debian's Chromium, without anything that would look for the internet; and the npm packages of web/.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { ROOT, WEB } from "./site.mjs";

export const require = createRequire(join(WEB, "package.json"));
const { chromium } = require("playwright-core");

export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 900 };
const PATIENCE_MS = 120000; // on a machine that does other things too
export const SCREENS = process.env.SMP_WEB_SCREENS ?? join(ROOT, "build", "web-screens");

/** All names lead to 127.0.0.1, so that pages can be asked for by any host name. `keys`: SHA-256 of public keys, in base64, whose
 * certificates are taken as those of an authority are; what comes with an error that is ignored would not be cached. */
export async function start(keys = []) {
  mkdirSync(SCREENS, { recursive: true });
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * 127.0.0.1",
      `--ignore-certificate-errors-spki-list=${keys.join(",")}`],
  });
}

/** A page, closed when `use` is done. What it logs or fails at is a failure. */
export async function withPage(browser, options, use) {
  const context = await browser.newContext({ locale: "en", viewport: DESKTOP, bypassCSP: false, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const said = [];
  try {
    const page = await context.newPage();
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    await use(page, context);
  } finally {
    await context.close();
  }
  const odd = said.filter((text) => !text.includes("status of 404"));
  if (odd.length > 0) throw new Error(`the console says: ${odd.join("; ")}`);
}
