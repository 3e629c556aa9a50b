// SPDX-License-Identifier: AGPL-3.0-or-later
// The information page as a browser shows it: rows, conditions, escaping, keyboard, narrow, print.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start, withPage } from "./browser.mjs";
import { ALL, FULL_ROWS, HOSTILE, LEAST, LEAST_ROWS } from "./facts.mjs";
import { rowsOf } from "./information.mjs";
import { LANGUAGES, serve } from "./site.mjs";

let browser, site;
before(async () => [browser, site] = await Promise.all([start(), serve(ALL)]));
after(async () => {
  await browser?.close();
  await site?.close();
});

async function show(facts, use, options = {}) {
  site.facts = facts;
  await withPage(browser, options, async (page, context) => {
    await page.goto(`${site.url}/`);
    await use(page, context);
  });
}

for (const locale of LANGUAGES) {
  test(`information in ${locale}: all rows`, () => show(ALL, async (page) => {
    assert.equal(await page.getAttribute("html", "lang"), locale);
    assert.deepEqual(await rowsOf(page), FULL_ROWS[locale]);
    assert.equal(await page.locator(".notice").count(), 0);
    assert.equal(await page.getAttribute("meta[http-equiv='onion-location']", "content"), `http://${ALL.onion_host}`);
  }, { locale }));

  test(`information in ${locale}: the least there can be`, () => show(LEAST, async (page) => {
    assert.deepEqual(await rowsOf(page), LEAST_ROWS[locale]);
    assert.equal(await page.locator(".notice").count(), 1, "new queues are off");
    assert.equal(await page.locator("meta[http-equiv='onion-location']").count(), 0);
    assert.doesNotMatch(await page.innerText("body"), /undefined|\{\{|\[\[/);
  }, { locale }));
}

// What changes with one fact, and the rows it changes, in English.
const CHANGES = [
  ["commit without a link", { commit_link: "" }, { Version: "smp-server 0.1.0 / d8dd5f8" }],
  ["no commit", { commit: "", commit_link: "" }, { Version: "smp-server 0.1.0" }],
  ["operator without country", { operator_country: "" }, { Operator: "Example Ltd" }],
  ["country without a name", { server_country: "ZZ" }, { "Server country": "ZZ" }],
  ["website that is no link", { website: "javascript:alert(1)", website_link: "" }, { Website: "javascript:alert(1)" }],
  ["mail alone", { admin_simplex_link: "", admin_pgp_link: "", admin_pgp_fingerprint: "" }, { Administrators: "admin@example.org" }],
  ["no administrator", { admin: "" }, { Administrators: undefined }],
  ["dedicated", { hosting_virtual: "", hosting_dedicated: "1" }, { "Hosting type": "Dedicated machine" }],
  ["colocation", { hosting_virtual: "", hosting_colocation: "1" }, { "Hosting type": "Colocation" }],
  ["owned", { hosting_virtual: "", hosting_owned: "1" }, { "Hosting type": "Own machine on own premises" }],
  ["no hosting type", { hosting_virtual: "", hosting_type: "" }, { "Hosting type": undefined }],
  ["queues only", { keeps_messages: "", keeps_queues: "1" }, { "Kept across restarts": "Queues" }],
  ["a week", { ttl_days: "", ttl_weeks: "1" }, { "Messages expire after": "1 week" }],
  ["two weeks", { ttl_days: "", ttl_weeks: "2", ttl_weeks_many: "1" }, { "Messages expire after": "2 weeks" }],
  ["a year", { ttl_months: "12", ttl_months_many: "1", ttl_days: "5" }, { "Messages expire after": "12 months 5 days" }],
  ["one of each", { ttl_months: "1", ttl_days: "1", ttl_days_many: "", ttl_hours: "1", ttl_minutes: "1", ttl_seconds: "1" },
    { "Messages expire after": "1 month 1 day 1 hour 1 min 1 sec" }],
  ["no statistics", { stats_on: "" }, { "Daily statistics": "No" }],
  ["no password", { auth_on: "" }, { "Password for new queues": "No" }],
  ["no onion host", { onion_host: "", onion_address: "" }, { "Onion address": undefined }],
];
for (const [what, facts, rows] of CHANGES) {
  test(`information: ${what}`, () => show({ ...ALL, ...facts }, async (page) => {
    const expected = { ...FULL_ROWS.en, ...rows };
    for (const key in expected) if (expected[key] === undefined) delete expected[key];
    assert.deepEqual(await rowsOf(page), expected);
  }));
}

test("information: what an operator writes is text", () => show(HOSTILE, async (page) => {
  const rows = await rowsOf(page);
  assert.equal(rows.Operator, `Example Ltd<&"'>, France (FR)`);
  assert.equal(await page.innerText("h1"), `smp.example.org<&"'>`);
  assert.equal(await page.locator("main :is(script, img, svg)").count(), 0);
  const links = await page.$$eval("main a", (all) => all.map((a) => a.getAttribute("href")));
  assert.ok(links.includes(`https://example.org<&"'>`), links.join(" "));
}));

test("information: links are of four kinds only", () => show(ALL, async (page) => {
  for (const url of await page.$$eval("a", (all) => all.map((a) => a.href))) assert.match(url, /^(https?|mailto|simplex):/);
}));

test("information: a fingerprint is in one line where there is room for it", () => show(ALL, async (page) => {
  const links = page.locator("dd a", { hasText: /^([0-9A-F]{4} ?){10}$/ });
  assert.equal(await links.count(), 2);
  for (const link of await links.all()) assert.ok((await link.boundingBox()).height < 32);
}));

test("information: another language is one click away", () => show(ALL, async (page) => {
  await page.click("nav a[lang='ja']");
  assert.equal(await page.getAttribute("html", "lang"), "ja");
  assert.equal(await page.getAttribute("nav a[lang='ja']", "aria-current"), "true");
  await page.click("nav a[lang='en']");
  assert.equal(await page.getAttribute("html", "lang"), "en");
}));

test("information: with the keyboard, to the content first", () => show(ALL, async (page) => {
  await page.keyboard.press("Tab");
  const skip = page.locator(".skip");
  assert.ok(await skip.evaluate((a) => a === document.activeElement));
  assert.ok((await skip.boundingBox()).y >= 0, "it is seen when it has the focus");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)));
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid");
}));

for (const locale of LANGUAGES) {
  test(`information in ${locale}: 320 pixels, or 400 %, without sideways scroll`, () => show(ALL, async (page) => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320));
  }, { locale, viewport: { width: 320, height: 256 } }));
}

test("information: nothing moves", () => show(ALL, async (page) => {
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
}, { reducedMotion: "reduce" }));

test("information: on paper, black on white, without what is to be pressed", () => show(ALL, async (page) => {
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.isVisible("nav"), false);
  assert.deepEqual(await page.$eval("body", (body) => [getComputedStyle(body).color, getComputedStyle(body).backgroundColor]),
    ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]);
}, { colorScheme: "dark" }));

test("not found: says so in the language asked for", () => withPage(browser, { locale: "fr" }, async (page) => {
  site.facts = ALL;
  const response = await page.goto(`${site.url}/nothing/here`);
  assert.equal(response.status(), 404);
  assert.equal(await page.innerText("h1"), "Page introuvable");
  await page.click("main a");
  assert.equal(await page.getAttribute("html", "lang"), "fr");
}));
