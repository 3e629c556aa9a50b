// SPDX-License-Identifier: AGPL-3.0-or-later
// The same pages from smp-server itself, with TLS on the port of the clients and without: what it fills in, and what a visit costs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { require, start, withPage } from "./browser.mjs";
import { costs, LINK_BUDGET, PAGE_BUDGET } from "./budget.mjs";
import { ALL, FULL_ROWS, LEAST_ROWS } from "./facts.mjs";
import { rowsOf } from "./information.mjs";
import { LANGUAGES } from "./site.mjs";
import { startServer } from "./smp_server.mjs";

const axe = require("axe-core").source;
const HOST = "smp.example.org";
const FULL = {
  INFORMATION: {
    source_code: ALL.source_code, usage_conditions: ALL.usage_conditions, condition_amendments: ALL.condition_amendments,
    server_country: "DE", operator: ALL.operator, operator_country: "FR", website: ALL.website,
    admin_simplex: ALL.admin_simplex_link, admin_email: ALL.admin_email, admin_pgp: ALL.admin_pgp_link,
    admin_pgp_fingerprint: ALL.admin_pgp_fingerprint, complaints_simplex: ALL.complaints_simplex_link,
    complaints_email: ALL.complaints_email, complaints_pgp: ALL.complaints_pgp_link,
    complaints_pgp_fingerprint: ALL.complaints_pgp_fingerprint, hosting: ALL.hosting, hosting_country: "FI", hosting_type: "virtual",
  },
  STORE_LOG: { enable: "on", store_messages: "journal", expire_messages_days: 21, log_stats: "on" },
  AUTH: { new_queues: "on", create_password: "secret" },
  TRANSPORT: { host: `${HOST},${ALL.onion_host}` },
};
const LEAST = { STORE_LOG: { enable: "off", log_stats: "off" }, AUTH: { new_queues: "off" }, TRANSPORT: { host: HOST } };

let browser, full, least;
before(async () => {
  [full, least] = await Promise.all([startServer(FULL, true), startServer(LEAST, false)]);
  browser = await start([full.key]);
});
after(async () => Promise.all([browser?.close(), full?.stop(), least?.stop()]));

const url = (server, path) => `${server.origin}${path}`;

// Rows whose values are this build's and this server's own are compared by their shape.
const SHAPES = [
  [/^smp-server 0/, /^smp-server \d+\.\d+\.\d+\S*( \/ [0-9a-f]{7})?$/],
  [/^6-20$/, /^\d+-\d+$/],
];

function assertRows(rows, expected, server) {
  assert.deepEqual(Object.keys(rows), Object.keys(expected));
  for (const [key, value] of Object.entries(expected)) {
    const shape = SHAPES.find(([text]) => text.test(value))?.[1];
    if (shape !== undefined) assert.match(rows[key], shape);
    else assert.equal(rows[key], value.replaceAll(ALL.fingerprint, server.fingerprint)
      .replace(/^(smp:.*)$/, `$1:${server.smpPort}`), key);
  }
}

for (const locale of LANGUAGES) {
  test(`served in ${locale}: all rows`, () => withPage(browser, { locale }, async (page) => {
    await page.goto(url(full, "/"));
    assert.equal(await page.getAttribute("html", "lang"), locale);
    assertRows(await rowsOf(page), FULL_ROWS[locale], full);
    assert.doesNotMatch(await page.content(), /secret/, "the password of new queues");
  }));

  test(`served in ${locale}: the least`, () => withPage(browser, { locale }, async (page) => {
    await page.goto(url(least, "/"));
    const rows = await rowsOf(page);
    const address = Object.keys(FULL_ROWS[locale]);
    for (const key of [address[0], address[2]]) {
      assert.ok(rows[key].includes(least.fingerprint));
      delete rows[key];
    }
    const expiry = Object.keys(LEAST_ROWS[locale])[1];
    assert.equal(rows[expiry], FULL_ROWS[locale][expiry], "21 days unless something else is set");
    assertRows(rows, { ...LEAST_ROWS[locale], [expiry]: rows[expiry] }, least);
    assert.equal(await page.locator(".notice").count(), 1);
  }));

  for (const [path, budget] of [["/", PAGE_BUDGET], ["/contact#abc", LINK_BUDGET]]) {
    test(`served: budget of ${path} in ${locale}`, () => withPage(browser, { locale }, (page, context) =>
      costs(page, context, url(full, path), budget)));
  }

  test(`served in ${locale}: a link`, () => withPage(browser, { locale, bypassCSP: true }, async (page) => {
    await page.goto(url(full, "/i#abc?p=1"));
    assert.equal(await page.getAttribute("html", "lang"), locale);
    assert.equal(await page.getAttribute("#open", "href"), `simplex:/i#abc?p=1&h=${HOST}`);
    assert.equal(await page.locator("#qr svg path").count(), 2);
    await page.click("nav a[lang='fr']");
    assert.equal(await page.getAttribute("html", "lang"), "fr");
    assert.equal(await page.getAttribute("#open", "href"), `simplex:/i#abc?p=1&h=${HOST}`);
    await page.evaluate(axe);
    assert.deepEqual((await page.evaluate(() => window.axe.run())).violations.map((rule) => rule.id), []);
  }));
}

test("served: the page is not found, in the language asked for", () => withPage(browser, { locale: "ja" }, async (page) => {
  assert.equal((await page.goto(url(full, "/nothing"))).status(), 404);
  assert.equal(await page.innerText("h1"), "ページが見つかりません");
}));
