// SPDX-License-Identifier: AGPL-3.0-or-later
// The dashboard as smp-server serves it; and what it draws of figures that are known.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DESKTOP, PHONE, require, SCREENS, start, withPage } from "./browser.mjs";
import { DASHBOARD_BUDGET, visit } from "./budget.mjs";
import { freePort, startServer } from "./smp_server.mjs";

const axe = require("axe-core").source;
const PASSWORD = "for-tests";
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const credentials = (password) => ({ username: "anybody", password });

let browser, server, url;
before(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  [browser, server] = await Promise.all([start(), startServer({
    TRANSPORT: { host: "smp.example.org" }, AUTH: { control_port_user_password: PASSWORD }, WEB: { dashboard: `127.0.0.1:${port}` },
  })]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const open = (options, use) => withPage(browser, { httpCredentials: credentials(PASSWORD), ...options }, async (page, context) => {
  const foreign = [];
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(url).origin) foreign.push(request.url()); });
  await use(page, context);
  assert.deepEqual(foreign, []);
});

// ---- figures that are known ----

const NAMES = ["messages_sent", "messages_received", "connections", "clients", "answer_p50_ms", "answer_p99_ms", "commit_p50_ms",
  "commit_p99_ms", "queues", "messages", "memory_bytes", "storage_bytes", "storage_free_bytes", "proxy_errors_connect",
  "proxy_errors_compat", "proxy_errors_other", "names_found", "names_unknown", "names_failed"];
const END = 1795920000;

// `n` points of each series: its number in NAMES and that of the point.
const points = (step, n, end = END) => ({
  step, time: Array.from({ length: n }, (_, i) => end - (n - 1 - i) * step),
  ...Object.fromEntries(NAMES.map((name, s) => [name, Array.from({ length: n }, (_, i) => s * 1000 + i)])),
});
const figures = (more) => ({
  now: END, version: "0.1.0", name: "smp.example.org", started: END - 90000, storage_state: 0, certificate_days: { smp: 900, web: null },
  began: END - 90000, steps: [points(5, 180), points(60, 1440)], ...more,
});

// The answers in turn, the last for ever; the queries that they were asked by.
async function answerBy(page, ...answers) {
  const asked = [];
  await page.route("**/data.json*", (route) => {
    asked.push(new URL(route.request().url()).search);
    const json = answers.length > 1 ? answers.shift() : answers[0];
    return json === null ? route.abort() : route.fulfill({ json });
  });
  return asked;
}

const row = async (page, name) => (await page.locator(`tr[data-series=${name}] td`).allInnerTexts()).map((text) => text.replace(/\u00a0/g, " "));
const drawn = (page) => page.waitForSelector("figure:last-child canvas");

test("dashboard: now, lowest and highest, of the time that is shown", () => open({}, async (page) => {
  await answerBy(page, figures());
  await page.goto(url);
  await drawn(page);
  assert.equal(await page.locator("canvas").count(), 11);
  assert.deepEqual(await row(page, "messages_received"), ["1,179", "1,000", "1,179"]);
  assert.deepEqual(await row(page, "answer_p50_ms"), ["4.18 s", "4 s", "4.18 s"]);
  await page.getByLabel("24 hours").check();
  assert.deepEqual(await row(page, "clients"), ["4,439", "3,000", "4,439"]);
  assert.deepEqual(await row(page, "memory_bytes"), ["11.2 KiB", "9.77 KiB", "11.2 KiB"]);
  assert.equal(await page.innerText("#smp"), "900 days");
  assert.equal(await page.innerText("#web"), "no certificate");
  assert.match(await page.getAttribute("figure:nth-child(3) .draw", "aria-label"), /^Clients connected\. now 4,439, lowest 3,000, highest 4,439$/);
}));

test("dashboard: what is new is asked for, and what has begun anew takes the place of all", () => open({}, async (page) => {
  const anew = figures({ began: END + 100, steps: [points(5, 2, END + 110), points(60, 0)] });
  const asked = await answerBy(page, figures(), figures({ steps: [points(5, 1, END + 5), points(60, 0)] }), anew);
  await page.clock.install();
  await page.goto(url);
  await drawn(page);
  await page.clock.runFor(5000);
  await page.waitForFunction(() => document.querySelector("tr[data-series=messages_sent] td").textContent === "0");
  assert.deepEqual(await row(page, "messages_sent"), ["0", "0", "179"]);
  await page.clock.runFor(5000);
  await page.waitForFunction(() => document.querySelector("tr[data-series=messages_sent] td").textContent === "1");
  assert.deepEqual(await row(page, "messages_sent"), ["1", "0", "1"]);
  assert.deepEqual(asked.slice(0, 4), ["", `?since=${END}`, `?since=${END + 5}`, ""]);
}));

test("dashboard: what is wrong is told", () => open({}, async (page) => {
  await answerBy(page, figures({ storage_state: 1, certificate_days: { smp: 900, web: 3 } }));
  await page.goto(url);
  await drawn(page);
  assert.match(await page.innerText("#storage.bad"), /^full/);
  assert.equal(await page.innerText("#web.bad"), "3 days");
  assert.equal(await page.locator("#smp.bad").count(), 0);
}));

test("dashboard: holes, and figures that there are none of", () => open({}, async (page) => {
  const some = points(5, 10);
  some.answer_p50_ms = [null, 1, null, 2, 3, null, null, null, 4, null];
  await answerBy(page, figures({ steps: [some, points(60, 0)] }));
  await page.goto(url);
  await drawn(page);
  assert.deepEqual(await row(page, "answer_p50_ms"), ["–", "1 ms", "4 ms"]);
  await page.getByLabel("24 hours").check();
  assert.deepEqual(await row(page, "clients"), ["–", "–", "–"]);
}));

test("dashboard: silence of the server is said once, and its end", () => withPage(browser, { httpCredentials: credentials(PASSWORD) }, async (page) => {
  await answerBy(page, figures(), figures({ steps: [points(5, 1, END + 5), points(60, 0)] }));
  await page.clock.install();
  await page.goto(url);
  await drawn(page);
  assert.equal(await page.textContent("#said"), "");
  await page.unroute("**/data.json*");
  await page.route("**/data.json*", (route) => route.fulfill({ status: 404 }));
  await page.clock.runFor(5000);
  await page.waitForFunction(() => document.getElementById("said").textContent.startsWith("The server does not answer since "));
  await page.evaluate(() => { window.changes = 0; new MutationObserver(() => window.changes++).observe(document.getElementById("said"), { childList: true, characterData: true }); });
  await page.clock.runFor(10000);
  assert.equal(await page.evaluate(() => window.changes), 0);
  await page.unroute("**/data.json*");
  await answerBy(page, figures({ steps: [points(5, 1, END + 20), points(60, 0)] }));
  await page.clock.runFor(5000);
  await page.waitForFunction(() => document.getElementById("said").textContent === "The server answers again.");
}));

test("dashboard: by keyboard alone", () => open({}, async (page) => {
  await answerBy(page, figures());
  await page.goto(url);
  await drawn(page);
  for (let i = 0; i < 5; i++) await page.keyboard.press("Tab"); // to the content, three languages, the time shown
  assert.equal(await page.evaluate(() => document.activeElement.value), "5");
  await page.keyboard.press("ArrowRight");
  assert.deepEqual(await row(page, "clients"), ["4,439", "3,000", "4,439"]);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "draw");
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  assert.match(await page.innerText("#at"), /: from senders: 178, acknowledged by recipients: 1,178$/);
  assert.equal(await page.innerText("figure:nth-child(3) .now b"), "3,178");
  await page.keyboard.press("Home");
  assert.equal(await page.innerText("figure:nth-child(3) .now b"), "3,000");
  await page.keyboard.press("Escape");
  assert.equal(await page.innerText("figure:nth-child(3) .now b"), "3,179");
  assert.equal(await page.textContent("#at"), "");
}));

// ---- as it is served ----

for (const [lang, heading] of [["en", "Over time"], ["fr", "Au fil du temps"], ["ja", "推移"]]) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, viewport] of [["phone", PHONE], ["desktop", DESKTOP], ["narrow", { width: 320, height: 640 }]]) {
      test(`dashboard: accessible in ${lang}, ${colorScheme}, ${width}`, () => open({ locale: lang, colorScheme, viewport, bypassCSP: true }, async (page) => {
        await answerBy(page, figures());
        await page.goto(url);
        await drawn(page);
        assert.equal(await page.innerText("#course"), heading);
        assert.equal(await page.getAttribute("html", "lang"), lang);
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
        await page.screenshot({ path: join(SCREENS, `dashboard-${lang}-${colorScheme}-${width}.png`), fullPage: true });
        await page.evaluate(axe);
        const report = await page.evaluate((rules) => window.axe.run(document, { runOnly: rules }), RULES);
        assert.ok(report.passes.length > 5);
        assert.deepEqual(report.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.target).join(", ")}`), []);
      }));
    }
  }
}

test("dashboard: of the real server, within its budget", () => open({}, async (page, context) => {
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  const first = (await visit(session, page, url)).filter((each) => each.bytes > 0);
  const sum = first.reduce((total, each) => total + each.bytes, 0);
  if (process.env.SMP_WEB_TELL) console.error(`dashboard: ${first.length} requests, ${sum} bytes`);
  assert.ok(first.length >= 4 && first.length <= DASHBOARD_BUDGET.requests, first.map((each) => each.from).join(" "));
  assert.ok(sum > 10000 && sum <= DASHBOARD_BUDGET.bytes, `${sum} bytes`);
  await page.waitForFunction(() => document.querySelector("tr[data-series=memory_bytes] td").textContent.includes("MiB"));
  assert.equal(await page.innerText("h1"), "smp.example.org");
  assert.match(await page.innerText("#smp"), /^\d[\d,]* days$/);
  assert.equal(await page.innerText("#storage"), "in order");
}));

test("dashboard: who has no password sees nothing", () => withPage(browser, { httpCredentials: credentials("wrong") }, async (page) => {
  const answer = await page.request.get(url);
  assert.equal(answer.status(), 401);
  assert.doesNotMatch(await answer.text(), /smp\.example\.org/);
}));

test("dashboard: without scripts it says where the figures are", () => open({ javaScriptEnabled: false }, async (page) => {
  await page.goto(url);
  assert.match(await page.innerText("noscript"), /\/data\.json/);
}));
