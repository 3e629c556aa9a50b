// SPDX-License-Identifier: AGPL-3.0-or-later
// What a visit costs: requests and bytes with their headers, as Chromium counts them; `SMP_WEB_TELL=1` prints them.
import assert from "node:assert/strict";

export const PAGE_BUDGET = { requests: 3, bytes: 12 * 1024 };
export const DASHBOARD_BUDGET = { requests: 6, bytes: 40 * 1024 };
export const LINK_BUDGET = { requests: 4, bytes: 20 * 1024 };
const HEADERS_BYTES = 800; // of an answer without a body

// What came over the network. The icon of the tab is the page's picture, which is in the cache then.
export async function visit(session, page, url) {
  const seen = new Map();
  const entry = (id) => seen.get(id) ?? seen.set(id, { from: "", cached: false, bytes: 0 }).get(id);
  const response = ({ requestId, response: { url: from, fromDiskCache } }) => {
    entry(requestId).from = from;
    entry(requestId).cached ||= fromDiskCache;
  };
  const cached = ({ requestId }) => { entry(requestId).cached = true; };
  const finished = ({ requestId, encodedDataLength }) => { entry(requestId).bytes = encodedDataLength; };
  const handlers = [["responseReceived", response], ["requestServedFromCache", cached], ["loadingFinished", finished]];
  for (const [name, handler] of handlers) session.on(`Network.${name}`, handler);
  await page.goto(url, { waitUntil: "networkidle" });
  for (const [name, handler] of handlers) session.off(`Network.${name}`, handler);
  return [...seen.values()].filter((each) => !each.cached);
}

/** A first visit is within the budget and asks nobody else; at the second the page is asked for, and no body comes. */
export async function costs(page, context, url, budget) {
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  const first = await visit(session, page, url);
  const sum = first.reduce((total, each) => total + each.bytes, 0);
  if (process.env.SMP_WEB_TELL) console.error(`${url}: ${first.length} requests, ${sum} bytes`);
  assert.ok(first.length >= 3 && first.length <= budget.requests, first.map((each) => each.from).join(" "));
  assert.ok(sum > 1000 && sum <= budget.bytes, `${sum} bytes`);
  for (const each of first) assert.equal(new URL(each.from).origin, new URL(url).origin);

  await page.goto("about:blank");
  const second = await visit(session, page, url);
  assert.deepEqual(second.map((each) => each.from), [url.replace(/#.*/, "")]);
  assert.ok(second[0].bytes < HEADERS_BYTES, `${second[0].bytes} bytes`);
}
