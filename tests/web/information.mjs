// SPDX-License-Identifier: AGPL-3.0-or-later

/** The rows of an information page: label to value, with a line for each of several values. */
export const rowsOf = (page) => page.$$eval("main dl > div", (rows) => Object.fromEntries(rows.map((row) =>
  [row.querySelector("dt").innerText, [...row.querySelectorAll("dd")].map((dd) => dd.innerText.trim()).join("\n")])));
