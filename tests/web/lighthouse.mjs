// SPDX-License-Identifier: AGPL-3.0-or-later
// Scores of Lighthouse for the pages that smp-server serves over https, as a phone and as a computer: node tests/web/lighthouse.mjs.
// Exit status 1 when one of performance, accessibility and best practices is below LEAST. SEO is told and not judged: links of
// SimpleX are for those who were given them, not for search engines.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { startServer } from "./smp_server.mjs";

// Not among the packages of web/, which build and tests need: it brings 150 others.
const require = createRequire(pathToFileURL(`${process.env.LIGHTHOUSE ?? "build/lighthouse"}/`));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const [{ default: lighthouse, desktopConfig }, { launch }] = [await load("lighthouse"), await load("chrome-launcher")];

const RUNS = Number(process.env.RUNS ?? 3);
const LEAST = { performance: 0.99, accessibility: 1, "best-practices": 1 };
const PAGES = ["/", "/a#lXUjJW5vHYQzoLYgmi8GbxkGP41_kjefFvBrdwg-0Ok"];
const FORMS = { phone: undefined, computer: desktopConfig };

const server = await startServer({ INFORMATION: { source_code: "https://example.org/source", website: "https://example.org", operator: "Example Ltd", server_country: "DE" } }, true);
const chrome = await launch({
  chromePath: process.env.CHROME_PATH ?? "/usr/bin/chromium", handleSIGINT: false,
  chromeFlags: ["--headless=new", "--no-sandbox", "--host-resolver-rules=MAP * 127.0.0.1",
    `--ignore-certificate-errors-spki-list=${server.key}`],
});
// What else this machine does makes a run slower, and nothing makes it quicker: the best of a few counts.
async function best(url, config) {
  let found;
  for (let run = 0; run < RUNS; run++) {
    const { lhr } = await lighthouse(url, { port: chrome.port, logLevel: "error" }, config);
    if (found === undefined || lhr.categories.performance.score > found.categories.performance.score) found = lhr;
    if (found.categories.performance.score === 1) break;
  }
  return found;
}

function tell(path, form, lhr) {
  const names = [...Object.keys(LEAST), "seo"];
  const scores = names.map((name) => String(Math.round(lhr.categories[name].score * 100)).padStart(name.length));
  console.log(`${path.slice(0, 2).padEnd(6)}${form.padEnd(10)}${scores.join(" ")}`);
  for (const name of names) {
    const low = lhr.categories[name].auditRefs.filter(({ id, weight }) => weight > 0 && (lhr.audits[id].score ?? 1) < 1);
    for (const { id } of low) console.log(`      ${name}: ${id} ${lhr.audits[id].displayValue ?? ""}`);
  }
  return Object.entries(LEAST).every(([name, least]) => lhr.categories[name].score >= least);
}

let good = true;
console.log(`${"".padEnd(16)}${[...Object.keys(LEAST), "seo"].join(" ")}`);
for (const path of PAGES) {
  for (const [form, config] of Object.entries(FORMS)) good = tell(path, form, await best(server.origin + path, config)) && good;
}
await chrome.kill();
await server.stop();
process.exitCode = good ? 0 : 1;
