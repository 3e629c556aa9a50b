// SPDX-License-Identifier: AGPL-3.0-or-later
// Writes the pictures of the dashboard in docs/pictures anew: node tests/web/dashboard_pictures.mjs. The page is the server's; the figures
// are those of an invented day, the same each time.
import { join } from "node:path";
import { DESKTOP, PHONE, start } from "./browser.mjs";
import { ROOT } from "./site.mjs";
import { freePort, startServer } from "./smp_server.mjs";

const PASSWORD = "for-pictures";
const END = Date.UTC(2026, 10, 29, 20, 15) / 1000;
const PICTURES = [
  ["dashboard", { locale: "en", viewport: DESKTOP }],
  ["dashboard-dark-ja", { locale: "ja", colorScheme: "dark", viewport: PHONE }],
];

let seed = 1;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
// What is so now is much what it was a step before.
let drift = 0;
const around = (value, part) => value * (1 + part * (drift = 0.85 * drift + 0.6 * (random() - 0.5)));
// More by day than by night, most in the evening.
const busy = (time) => 0.35 + 0.65 * Math.sin(Math.PI * (((time / 3600 - 5 + 24) % 24) / 24)) ** 2;
const whole = (value) => Math.round(value);

const FIGURES = {
  messages_sent: (b) => around(420 * b, 0.15),
  messages_received: (b) => around(415 * b, 0.15),
  connections: (b) => around(6 * b, 0.4),
  clients: (b) => whole(around(5200 * b, 0.01)),
  answer_p50_ms: () => around(0.12, 0.2),
  answer_p99_ms: (b) => around(1.8 * b, 0.4),
  commit_p50_ms: () => around(1.1, 0.2),
  commit_p99_ms: (b) => around(6 * b, 0.5),
  queues: (b, day) => whole(184000 + 900 * day),
  messages: (b) => whole(around(61000 * b, 0.01)),
  memory_bytes: (b) => around(190e6 + 60e6 * b, 0.005),
  storage_bytes: (b, day) => 1.9e9 + 4e7 * day,
  storage_free_bytes: (b, day) => 21e9 - 4e7 * day,
  proxy_errors_connect: () => (random() < 0.02 ? 1 : 0),
  proxy_errors_compat: () => 0,
  proxy_errors_other: () => (random() < 0.01 ? 1 : 0),
  names_found: (b) => whole(around(4 * b, 0.9)),
  names_unknown: () => (random() < 0.1 ? 1 : 0),
  names_failed: () => (random() < 0.01 ? 1 : 0),
};

function points(step, n) {
  const time = Array.from({ length: n }, (_, i) => END - (n - 1 - i) * step);
  const series = Object.entries(FIGURES).map(([name, make]) =>
    [name, time.map((at) => make(busy(at), 1 - (END - at) / 86400))]);
  return { step, time, ...Object.fromEntries(series) };
}

const figures = {
  now: END, version: "0.1.0", name: "smp.example.org", started: END - 11 * 86400, storage_state: 0, certificate_days: { smp: 5113, web: 61 },
  began: END - 86400, steps: [points(5, 180), points(60, 1440)],
};

const port = await freePort();
const url = `http://127.0.0.1:${port}/`;
const [browser, server] = await Promise.all([start(), startServer({
  TRANSPORT: { host: "smp.example.org" }, AUTH: { control_port_user_password: PASSWORD }, WEB: { dashboard: `127.0.0.1:${port}` },
})]);
for (const [name, options] of PICTURES) {
  const context = await browser.newContext({ httpCredentials: { username: "anybody", password: PASSWORD }, timezoneId: "UTC", ...options });
  const page = await context.newPage();
  await page.route("**/data.json*", (route) => route.fulfill({ json: figures }));
  await page.goto(url);
  await page.waitForSelector("figure:last-child canvas");
  await page.screenshot({ path: join(ROOT, "docs", "pictures", `${name}.png`), fullPage: options.viewport === DESKTOP });
  await context.close();
}
await browser.close();
await server.stop();
