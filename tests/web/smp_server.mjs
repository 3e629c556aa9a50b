// SPDX-License-Identifier: AGPL-3.0-or-later
// smp-server itself, with settings of its own in a folder of its own.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./site.mjs";

const PROGRAM = process.env.SMP_SERVER ?? join(ROOT, "build", "smp-server");
const START_MS = 60_000;

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

const iniOf = (settings) => Object.entries(settings).map(([section, keys]) =>
  `[${section}]\n${Object.entries(keys).map(([key, value]) => `${key} = ${value}\n`).join("")}`).join("\n");

/** { port, fingerprint, stop } of a server that serves its pages. `settings`: { section: { key: value } }. */
export async function startServer(settings) {
  const folder = mkdtempSync(join(tmpdir(), "smp-web-"));
  const env = { ...process.env, SMP_SERVER_CFG_PATH: join(folder, "etc"), SMP_SERVER_LOG_PATH: join(folder, "var") };
  execFileSync(PROGRAM, ["init", "-y", "--no-password", "--fqdn", "smp.example.org"], { env, stdio: "ignore" });
  const [port, http] = [await freePort(), await freePort()];
  writeFileSync(join(folder, "etc", "smp-server.ini"), iniOf({
    ...settings, TRANSPORT: { port, ...settings.TRANSPORT }, WEB: { static_path: join(folder, "var", "www"), http },
  }));
  const server = spawn(PROGRAM, ["start"], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((done) => server.on("exit", done));
  let said = "";
  await new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no page after ${START_MS} ms: ${said}`)), START_MS);
    const look = (data) => {
      said += data;
      if (!said.includes("Page of this server: ")) return;
      clearTimeout(timer);
      done();
    };
    server.stdout.on("data", look);
    server.stderr.on("data", look);
    ended.then(() => fail(new Error(`smp-server ended: ${said}`)));
  });
  return {
    port: http,
    fingerprint: readFileSync(join(folder, "etc", "fingerprint"), "utf8").trim(),
    smpPort: port,
    async stop() {
      server.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
