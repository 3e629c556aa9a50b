// SPDX-License-Identifier: AGPL-3.0-or-later
// Serves web/ as the server does: templates filled, the same addresses, headers and compression.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const WEB = join(ROOT, "web");
export const LANGUAGES = ["en", "fr", "ja"];
export const LINK_PATHS = ["contact", "invitation", "a", "c", "g", "r", "i"];
const TYPES = {
  html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml", txt: "text/plain; charset=utf-8",
};
const HEADERS = {
  "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
  "Vary": "Accept-Encoding, Accept-Language",
};

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

export function fill(template, facts) {
  const section = /\{\{([#^])(\w+)\}\}((?:(?!\{\{[#^]\2\}\})[^])*?)\{\{\/\2\}\}/;
  let text = template;
  for (let found; (found = section.exec(text)) !== null;) {
    const [whole, sign, name, inner] = found;
    text = text.replace(whole, () => ((facts[name] ?? "") !== "") === (sign === "#") ? inner : "");
  }
  return text.replace(/\{\{(\w+)\}\}/g, (_, name) => escape(facts[name] ?? ""));
}

const countries = new Map(readFileSync(join(WEB, "countries.tsv"), "utf8").split("\n")
  .filter((line) => line !== "" && line[0] !== "#").map((line) => [line.slice(0, 2), line.split("\t").slice(1)]));

function named(facts, lang) {
  const result = { ...facts };
  for (const key of ["operator_country", "hosting_country", "server_country"]) {
    result[`${key}_name`] = countries.get(facts[key])?.[LANGUAGES.indexOf(lang)] ?? "";
  }
  return result;
}

function pagesOf(facts) {
  const page = (name, lang) =>
    fill(readFileSync(join(WEB, "pages", `${name}${lang === "en" ? "" : `.${lang}`}.html`), "utf8"), named(facts, lang));
  const found = new Map();
  for (const lang of LANGUAGES) {
    found.set(`/index.${lang}.html`, page("index", lang));
    found.set(`/404.${lang}.html`, page("404", lang));
    for (const path of LINK_PATHS) found.set(`/${path}/index.${lang}.html`, page("link", lang));
  }
  return found;
}

function preferred(header) {
  const wishes = (header ?? "").split(",").map((part) => part.trim().slice(0, 2).toLowerCase());
  return wishes.find((wish) => LANGUAGES.includes(wish)) ?? "en";
}

function send(request, response, status, type, body, cache) {
  const tag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 16)}"`;
  const accepted = request.headers["accept-encoding"] ?? "";
  const headers = { ...HEADERS, "Content-Type": type, "Cache-Control": cache, "ETag": tag };
  if (status === 200 && request.headers["if-none-match"] === tag) {
    response.writeHead(304, headers).end();
    return;
  }
  let bytes = Buffer.from(body);
  if (accepted.includes("br")) [bytes, headers["Content-Encoding"]] = [brotliCompressSync(bytes), "br"];
  else if (accepted.includes("gzip")) [bytes, headers["Content-Encoding"]] = [gzipSync(bytes, { level: 9 }), "gzip"];
  response.writeHead(status, { ...headers, "Content-Length": bytes.length }).end(bytes);
}

/** On a free port of 127.0.0.1; { url, facts, close }. What is put into facts is on the next page that is asked for. */
export async function serve(facts) {
  const site = { facts };
  const media = new Map(readdirSync(join(WEB, "media")).map((name) => [`/media/${name}`, readFileSync(join(WEB, "media", name))]));
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://host").pathname;
    if (media.has(path)) {
      send(request, response, 200, TYPES[path.split(".").pop()], media.get(path), "public, max-age=31536000, immutable");
      return;
    }
    const pages = pagesOf(site.facts);
    const lang = preferred(request.headers["accept-language"]);
    const folder = path.replace(/\/(index\.html)?$/, "");
    const body = pages.get(path) ?? (/index\.\w+\.html$/.test(folder) ? undefined : pages.get(`${folder}/index.${lang}.html`));
    if (body === undefined) send(request, response, 404, TYPES.html, pages.get(`/404.${lang}.html`), "no-cache");
    else send(request, response, 200, TYPES.html, body, "no-cache");
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  site.url = `http://127.0.0.1:${server.address().port}`;
  site.close = () => new Promise((done) => { server.closeAllConnections(); server.close(done); });
  return site;
}
