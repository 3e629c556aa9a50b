// SPDX-License-Identifier: AGPL-3.0-or-later
// The page that opens a link. The words are in the page, in its language; the QR code is lean-qr's (lean-qr.txt).
import { correction, generate } from "lean-qr";
import { readLink } from "./links.js";

const QUIET_MODULES = 4;
const LARGE = 17 + 4 * 25; // modules of version 25: above, modules get small, and a lower level keeps them larger

const element = (id) => document.getElementById(id);

function codeOf(text) {
  for (const level of [correction.M, correction.L]) {
    try {
      const code = generate(text, { minCorrectionLevel: level, maxCorrectionLevel: level });
      if (level === correction.L || code.size <= LARGE) return code;
    } catch { /* too long for this level */ }
  }
  return null;
}

function pictureOf(code) {
  const side = code.size + 2 * QUIET_MODULES;
  let path = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) {
      if (code.get(x, y)) path += `M${x + QUIET_MODULES} ${y + QUIET_MODULES}h1v1h-1z`;
    }
  }
  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return made;
  };
  const picture = make("svg", { viewBox: `0 0 ${side} ${side}`, "shape-rendering": "crispEdges" });
  picture.append(make("path", { d: `M0 0h${side}v${side}H0z`, fill: "#fff" }), make("path", { d: path }));
  return picture;
}

function show() {
  const link = readLink(location);
  for (const words of document.querySelectorAll("[data-kind]")) words.hidden = words.dataset.kind !== link.kind;
  document.title = document.querySelector("h1").innerText;
  for (const page of element("languages").querySelectorAll("a")) {
    page.href = `/${link.name}/${page.dataset.page}${location.search}${location.hash}`;
  }
  element("incomplete").hidden = link.web !== null;
  element("ready").hidden = element("lead").hidden = link.web === null;
  element("said").textContent = "";
  if (link.web === null) return;

  element("open").href = link.app;
  element("text").textContent = element("terminal").textContent = link.web;
  const code = codeOf(link.web);
  element("qr").replaceChildren(...(code ? [pictureOf(code)] : []));
  element("qr").hidden = element("scan").hidden = code === null;
  element("toolong").hidden = code !== null;
}

// Without TLS, as on an onion site, only the old way of copying may be there.
function copySelected() {
  getSelection().selectAllChildren(element("text"));
  return document.execCommand("copy");
}

async function copy() {
  let done;
  try {
    await navigator.clipboard.writeText(element("text").textContent);
    done = true;
  } catch {
    done = copySelected();
  }
  const { copied, failed } = element("said").dataset;
  element("said").textContent = done ? copied : failed;
}

// The fragment is the link: to skip must not change it.
function skip(event) {
  event.preventDefault();
  element("main").focus();
}

element("copy").addEventListener("click", copy);
element("skip").addEventListener("click", skip);
element("skip").hidden = element("languages").hidden = false;
addEventListener("hashchange", show);
show();
