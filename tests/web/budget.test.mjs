// SPDX-License-Identifier: AGPL-3.0-or-later
// What a visit costs: requests and bytes with their headers, as Chromium counts them; `SMP_WEB_TELL=1` prints them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start, withPage } from "./browser.mjs";
import { ALL } from "./facts.mjs";
import { LANGUAGES, serve } from "./site.mjs";

// Path, requests, bytes.
const BUDGETS = [["/", 3, 12 * 1024], ["/contact#abc", 4, 20 * 1024], ["/nothing", 3, 12 * 1024]];

const HEADERS_BYTES = 800; // of an answer without a body

let browser, site;
before(async () => [browser, site] = await Promise.all([start(), serve(ALL)]));
after(async () => {
  await browser?.close();
  await site?.close();
});

// What came over the network. The icon of the tab is the page's picture, which is in the cache then.
async function visit(session, page, url) {
  const seen = new Map();
  const response = ({ requestId, response: { url: from, status, fromDiskCache } }) =>
    seen.set(requestId, { from, status, cached: fromDiskCache, bytes: 0 });
  const cached = ({ requestId }) => { if (seen.has(requestId)) seen.get(requestId).cached = true; };
  const finished = ({ requestId, encodedDataLength }) => { if (seen.has(requestId)) seen.get(requestId).bytes = encodedDataLength; };
  session.on("Network.responseReceived", response);
  session.on("Network.requestServedFromCache", cached);
  session.on("Network.loadingFinished", finished);
  await page.goto(url, { waitUntil: "networkidle" });
  for (const [name, handler] of [["responseReceived", response], ["requestServedFromCache", cached], ["loadingFinished", finished]]) {
    session.off(`Network.${name}`, handler);
  }
  return [...seen.values()].filter((each) => !each.cached);
}

for (const [path, requests, bytes] of BUDGETS) {
  for (const locale of LANGUAGES) {
    test(`budget of ${path} in ${locale}`, () => withPage(browser, { locale }, async (page, context) => {
      const session = await context.newCDPSession(page);
      await session.send("Network.enable");
      const first = await visit(session, page, site.url + path);
      const sum = first.reduce((total, each) => total + each.bytes, 0);
      if (process.env.SMP_WEB_TELL) console.error(`${path} ${locale}: ${first.length} requests, ${sum} bytes`);
      assert.ok(first.length >= 3 && first.length <= requests, first.map((each) => each.from).join(" "));
      assert.ok(sum > 1000 && sum <= bytes, `${sum} bytes`);
      for (const each of first) assert.ok(each.from.startsWith(site.url), each.from);
      if (path === "/nothing") return;

      // Again: the page is asked for and has not changed, the rest is not asked for.
      await page.goto("about:blank");
      const second = await visit(session, page, site.url + path);
      assert.deepEqual(second.map((each) => each.from), [site.url + path.replace(/#.*/, "")]);
      assert.ok(second[0].bytes < HEADERS_BYTES, `${second[0].bytes} bytes`);
    }));
  }
}
