// SPDX-License-Identifier: AGPL-3.0-or-later
// What a link is, from where the page was opened: no DOM in here.

const KINDS = {
  a: "address", contact: "address", i: "invitation", invitation: "invitation", g: "group", c: "channel", r: "relay",
};

// The page may have been asked for as /a, /a/ or /a/index.fr.html.
function segment(pathname) {
  const parts = pathname.split("/").filter((part) => part !== "" && !/^index(\.\w+)?\.html$/.test(part));
  return parts.length > 0 ? parts[parts.length - 1] : "";
}

// One-letter links name their server in the fragment's parameters, where the browser's address bar does not.
function withHost(hash, hostname) {
  const at = hash.indexOf("?");
  if (at < 0) return `${hash}?h=${hostname}`;
  const parameters = hash.slice(at + 1).split("&");
  const known = parameters.findIndex((parameter) => parameter.startsWith("h="));
  if (known < 0) parameters.push(`h=${hostname}`);
  else parameters[known] = `h=${hostname},${parameters[known].slice(2)}`;
  return `${hash.slice(0, at)}?${parameters.join("&")}`;
}

/** null when there is nothing behind the #; `where` has the fields of window.location. */
export function readLink(where) {
  const name = segment(where.pathname);
  if (!/[^#/?]/.test(where.hash)) return { name, kind: KINDS[name] ?? "any", web: null, app: null };
  // Group links of older apps are addresses that say so themselves.
  const isOldGroup = /[?&]data=%7B%22groupLinkId%22%3A/i.test(where.hash);
  return {
    name,
    kind: isOldGroup ? "group" : (KINDS[name] ?? "any"),
    web: `https://${where.host}/${name}${where.search}${where.hash}`,
    app: `simplex:/${name}${name.length === 1 ? withHost(where.hash, where.hostname) : where.hash}`,
  };
}
