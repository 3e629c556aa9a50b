// SPDX-License-Identifier: AGPL-3.0-or-later
import assert from "node:assert/strict";
import { test } from "node:test";
import { readLink } from "../../web/src/links.js";

// Where the page is opened; the kind; the link for the web and for the app, null: incomplete.
const TABLE = [
  ["https://smp.example/a#abc", "address", "https://smp.example/a#abc", "simplex:/a#abc?h=smp.example"],
  ["https://smp.example/a#abc?p=1", "address", "https://smp.example/a#abc?p=1", "simplex:/a#abc?p=1&h=smp.example"],
  ["https://smp.example/a#abc?h=x.onion", "address", "https://smp.example/a#abc?h=x.onion", "simplex:/a#abc?h=smp.example,x.onion"],
  ["https://smp.example/i#ab?p=1&h=y", "invitation", "https://smp.example/i#ab?p=1&h=y", "simplex:/i#ab?p=1&h=smp.example,y"],
  ["https://smp.example/contact/#/?v=1", "address", "https://smp.example/contact#/?v=1", "simplex:/contact#/?v=1"],
  ["https://smp.example/invitation#/?v=2&smp=smp%3A%2F%2Fx", "invitation", "https://smp.example/invitation#/?v=2&smp=smp%3A%2F%2Fx",
    "simplex:/invitation#/?v=2&smp=smp%3A%2F%2Fx"],
  ["https://smp.example/g/#abc", "group", "https://smp.example/g#abc", "simplex:/g#abc?h=smp.example"],
  ["https://smp.example/c#abc", "channel", "https://smp.example/c#abc", "simplex:/c#abc?h=smp.example"],
  ["https://smp.example/r#abc", "relay", "https://smp.example/r#abc", "simplex:/r#abc?h=smp.example"],
  // the page in a language of its own is the same link
  ["https://smp.example/a/index.fr.html#abc", "address", "https://smp.example/a#abc", "simplex:/a#abc?h=smp.example"],
  ["https://smp.example/a/index.html#abc", "address", "https://smp.example/a#abc", "simplex:/a#abc?h=smp.example"],
  // https always; the port stays in the web link and never gets into the app's
  ["http://smp.example:8000/a#abc", "address", "https://smp.example:8000/a#abc", "simplex:/a#abc?h=smp.example"],
  ["https://smp.example:8443/contact#/?v=1", "address", "https://smp.example:8443/contact#/?v=1", "simplex:/contact#/?v=1"],
  ["http://x.onion/i#abc", "invitation", "https://x.onion/i#abc", "simplex:/i#abc?h=x.onion"],
  // the query stays in the web link; the last segment counts
  ["https://smp.example/a?x=1#abc", "address", "https://smp.example/a?x=1#abc", "simplex:/a#abc?h=smp.example"],
  ["https://smp.example/some/a#abc", "address", "https://smp.example/a#abc", "simplex:/a#abc?h=smp.example"],
  // the kind is told from the path alone, not from host or fragment
  ["https://group.example/a#abc", "address", "https://group.example/a#abc", "simplex:/a#abc?h=group.example"],
  ["https://contact.example/g#a/i/invitation", "group", "https://contact.example/g#a/i/invitation",
    "simplex:/g#a/i/invitation?h=contact.example"],
  // but for group links of older apps
  ["https://smp.example/contact#/?v=2&data=%7B%22groupLinkId%22%3A%22x%22%7D", "group",
    "https://smp.example/contact#/?v=2&data=%7B%22groupLinkId%22%3A%22x%22%7D",
    "simplex:/contact#/?v=2&data=%7B%22groupLinkId%22%3A%22x%22%7D"],
  // nothing to connect with
  ["https://smp.example/a", "address", null, null],
  ["https://smp.example/a#", "address", null, null],
  ["https://smp.example/i#/?", "invitation", null, null],
  ["https://smp.example/other#abc", "any", "https://smp.example/other#abc", "simplex:/other#abc"],
];

for (const [url, kind, web, app] of TABLE) {
  test(`links: ${url}`, () => {
    const link = readLink(new URL(url));
    assert.deepEqual({ kind: link.kind, web: link.web, app: link.app }, { kind, web, app });
  });
}

test("links: a long fragment is taken as it is", () => {
  const fragment = `#/?v=2&smp=${"%2B".repeat(700)}`;
  const link = readLink(new URL(`https://smp.example/contact${fragment}`));
  assert.equal(link.app, `simplex:/contact${fragment}`);
});
