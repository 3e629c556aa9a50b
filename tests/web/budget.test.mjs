// SPDX-License-Identifier: AGPL-3.0-or-later
import { after, before, test } from "node:test";
import { start, withPage } from "./browser.mjs";
import { costs, LINK_BUDGET, PAGE_BUDGET } from "./budget.mjs";
import { ALL } from "./facts.mjs";
import { LANGUAGES, serve } from "./site.mjs";

let browser, site;
before(async () => [browser, site] = await Promise.all([start(), serve(ALL)]));
after(async () => {
  await browser?.close();
  await site?.close();
});

for (const [path, budget] of [["/", PAGE_BUDGET], ["/contact#abc", LINK_BUDGET]]) {
  for (const locale of LANGUAGES) {
    test(`budget of ${path} in ${locale}`, () => withPage(browser, { locale }, (page, context) =>
      costs(page, context, site.url + path, budget)));
  }
}
