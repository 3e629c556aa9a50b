// SPDX-License-Identifier: AGPL-3.0-or-later
// The link page as a browser shows it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { require, SCREENS, start, withPage } from "./browser.mjs";
import { ALL } from "./facts.mjs";
import { LANGUAGES, serve } from "./site.mjs";

const jsQR = require("jsqr");
const { PNG } = require("pngjs");

let browser, site, port;
before(async () => {
  [browser, site] = await Promise.all([start(), serve(ALL)]);
  port = new URL(site.url).port;
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const open = (path, use, options = {}, host = "smp.example") => withPage(browser, options, async (page, context) => {
  await page.goto(`http://${host}:${port}${path}`);
  await use(page, context);
});

function readByTwo(file) {
  const picture = PNG.sync.read(readFileSync(file));
  const byJs = jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height)?.data;
  const byZbar = execFileSync("zbarimg", ["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", file], { encoding: "utf8" });
  return [byJs, byZbar.replace(/\n$/, "")];
}

const KINDS = {
  contact: ["SimpleX address", "Adresse SimpleX", "SimpleXアドレス"], a: ["SimpleX address", "Adresse SimpleX", "SimpleXアドレス"],
  invitation: ["One-time invitation", "Invitation à usage unique", "使い捨て招待リンク"],
  i: ["One-time invitation", "Invitation à usage unique", "使い捨て招待リンク"],
  g: ["Group invitation", "Invitation à un groupe", "グループへの招待"], c: ["Channel", "Canal", "チャンネル"],
  r: ["Chat relay", "Relais de chat", "チャットリレー"],
};

for (const [path, headings] of Object.entries(KINDS)) {
  test(`link /${path}: what it is, in each language, also on a host with another word in its name`, async () => {
    for (const [index, locale] of LANGUAGES.entries()) {
      await open(`/${path}/#abc`, async (page) => {
        assert.equal(await page.getAttribute("html", "lang"), locale);
        assert.equal((await page.innerText("h1")).trim(), headings[index]);
        assert.equal(await page.title(), headings[index]);
        assert.equal(await page.innerText("#text"), `https://group.example:${port}/${path}#abc`);
        const app = path.length === 1 ? `simplex:/${path}#abc?h=group.example` : `simplex:/${path}#abc`;
        assert.equal(await page.getAttribute("#open", "href"), app);
      }, { locale }, "group.example");
    }
  });
}

// An address as the apps make them, one as older apps made them, and 2 KB.
const FRAGMENTS = {
  short: "#lXUjJW5vHYQzoLYgmi8GbxkGP41_kjefFvBrdwg-0Ok",
  older: `#/?v=2-7&smp=smp%3A%2F%2F${"u2dS9sG8nMNURyZwqASV4yROM28Er0luVTx5X1CsMrU%3D".repeat(4)}%40smp4.simplex.im%2F&dh=MCowBQYDK2VuAyEA`,
  long: `#/?v=2-7&smp=${"aB3%2F".repeat(340)}`,
};
for (const [name, fragment] of Object.entries(FRAGMENTS)) {
  for (const colorScheme of ["light", "dark"]) {
    test(`link: QR code of a ${name} link, ${colorScheme}`, () => open(`/contact${fragment}`, async (page) => {
      const link = `https://smp.example:${port}/contact${fragment}`;
      const file = join(SCREENS, `qr-${name}-${colorScheme}.png`);
      await page.locator("#qr").screenshot({ path: file });
      assert.deepEqual(readByTwo(file), [link, link]);
      assert.equal(await page.getAttribute("#qr", "role"), "img");
    }, { colorScheme, deviceScaleFactor: 2 }));
  }
}

test("link: too long for a QR code is said, and still opens", () => open(`/contact#${"x".repeat(3000)}`, async (page) => {
  assert.equal(await page.isVisible("#qr"), false);
  assert.ok(await page.isVisible("#toolong"));
  assert.ok(await page.isVisible("#open"));
}));

test("link: printed, the QR code and the link are on paper", () => open(`/i${FRAGMENTS.short}`, async (page) => {
  const file = join(SCREENS, "link-print");
  await page.pdf({ path: `${file}.pdf`, format: "A4" });
  execFileSync("pdftoppm", ["-r", "150", "-png", "-singlefile", `${file}.pdf`, file]);
  const link = `https://smp.example:${port}/i${FRAGMENTS.short}`;
  assert.deepEqual(readByTwo(`${file}.png`), [link, link]);
  const text = execFileSync("pdftotext", [`${file}.pdf`, "-"], { encoding: "utf8" });
  assert.ok(text.replace(/\s/g, "").includes(link), text);
  assert.doesNotMatch(text, /Open in SimpleX|Google Play/);
}, { colorScheme: "dark" }));

for (const host of ["localhost", "smp.example"]) {
  test(`link: copied, and said so, on ${host === "localhost" ? "a secure origin" : "plain http"}`, () => open("/a#abc", async (page, context) => {
    if (host === "localhost") await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    assert.equal(await page.evaluate(() => isSecureContext), host === "localhost");
    await page.click("#copy");
    await page.waitForFunction(() => document.getElementById("said").textContent !== "");
    assert.equal(await page.innerText("#said"), "Link copied");
    assert.equal(await page.getAttribute("#said", "role"), "status");
    await page.evaluate(() => document.body.append(Object.assign(document.createElement("textarea"), { id: "paste" })));
    await page.focus("#paste");
    await page.keyboard.press("Control+V");
    assert.equal(await page.inputValue("#paste"), `https://${host}:${port}/a#abc`);
  }, {}, host));
}

for (const path of ["/a", "/a#", "/contact/", "/i#/"]) {
  test(`link ${path}: incomplete, nothing to press`, () => open(path, async (page) => {
    assert.ok(await page.isVisible("#incomplete"));
    for (const id of ["#lead", "#open", "#copy", "#qr"]) assert.equal(await page.isVisible(id), false, id);
  }));
}

test("link: without scripts it says what to do, and nothing can be pressed", async () => {
  for (const locale of LANGUAGES) {
    await open("/i#abc", async (page) => {
      assert.ok(await page.isVisible("noscript p"));
      assert.equal(await page.locator("main :is(a, button):visible").count(), 0);
      assert.equal(await page.isVisible("nav"), false, "a language link would lose the fragment");
      assert.equal(await page.isVisible("#incomplete"), false);
    }, { locale, javaScriptEnabled: false });
  }
});

test("link: another language is the same link", () => open("/i?x=1#abc", async (page) => {
  for (const lang of ["ja", "fr", "en"]) {
    await page.click(`nav a[lang='${lang}']`);
    await page.waitForURL(`**/i/index.${lang}.html?x=1#abc`);
    assert.equal(await page.getAttribute("html", "lang"), lang);
    assert.equal(await page.innerText("#text"), `https://smp.example:${port}/i?x=1#abc`);
  }
}));

test("link: follows the address bar", () => open("/a", async (page) => {
  await page.evaluate(() => { location.hash = "later"; });
  await page.waitForSelector("#open:visible");
  assert.equal(await page.getAttribute("#open", "href"), "simplex:/a#later?h=smp.example");
  await page.evaluate(() => { location.hash = ""; });
  await page.waitForSelector("#incomplete:visible");
}));

test("link: with the keyboard; to skip does not change the link", () => open("/a#abc", async (page) => {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "skip");
  await page.keyboard.press("Enter");
  assert.equal(new URL(page.url()).hash, "#abc");
  const reached = [];
  for (let i = 0; i < 2; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id));
  }
  assert.deepEqual(reached, ["open", "copy"]);
  await page.keyboard.press("Space");
  await page.waitForFunction(() => document.getElementById("said").textContent !== "");
}));

test("link: large enough to press", () => open("/a#abc", async (page) => {
  for (const id of ["#open", "#copy"]) assert.ok((await page.locator(id).boundingBox()).height >= 44, id);
  for (const link of await page.locator(":is(nav, .stores, footer) a").all()) assert.ok((await link.boundingBox()).height >= 24);
}));

test("link: 320 pixels, or 400 %, without sideways scroll", async () => {
  for (const locale of LANGUAGES) {
    await open(`/contact${FRAGMENTS.older}`, async (page) => {
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320));
      await page.locator("details summary").click();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320));
      assert.equal((await page.innerText("details code")).slice(0, 11), "/c https://");
    }, { locale, viewport: { width: 320, height: 256 } });
  }
});

test("link: in forced colours the QR code stays black on white", () => open(`/a${FRAGMENTS.short}`, async (page) => {
  const file = join(SCREENS, "qr-forced.png");
  await page.locator("#qr").screenshot({ path: file });
  assert.deepEqual(readByTwo(file), Array(2).fill(`https://smp.example:${port}/a${FRAGMENTS.short}`));
}, { forcedColors: "active", colorScheme: "dark" }));
