// SPDX-License-Identifier: AGPL-3.0-or-later
// Runs the tests of this folder, or those that are named, and ends with "N passed, N failed".
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const named = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith(".test.mjs") && (named.length === 0 || named.some((part) => name.includes(part))));
let passed = 0;
let failed = 0;
const silent = new Set(files);

function done(event, ok) {
  if (event.details.type === "suite" || event.file === undefined || event.name.endsWith(".test.mjs")) {
    if (ok) return;
  }
  silent.delete(basename(event.file ?? ""));
  if (ok) {
    passed++;
    return;
  }
  failed++;
  const { error } = event.details;
  console.log(`FAILED: ${event.name}\n${error?.cause?.stack ?? error?.cause ?? error?.message ?? ""}\n`);
}

const stream = run({ files: files.map((name) => join(here, name)), concurrency: 2 });
stream.on("test:pass", (event) => done(event, true));
stream.on("test:fail", (event) => done(event, false));
stream.on("test:stderr", (event) => process.stderr.write(event.message));
stream.on("end", () => {
  for (const name of silent) {
    console.log(`FAILED: no test of ${name} was run`);
    failed++;
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
});
stream.resume();
