// SPDX-License-Identifier: AGPL-3.0-or-later
// smp-server itself, with settings of its own in a folder of its own.
import { execFileSync, spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./site.mjs";

const PROGRAM = process.env.SMP_SERVER ?? join(ROOT, "build", "smp-server");
const START_MS = 60_000;

export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

const iniOf = (settings) => Object.entries(settings).map(([section, keys]) =>
  `[${section}]\n${Object.entries(keys).map(([key, value]) => `${key} = ${value}\n`).join("")}`).join("\n");

const NAME = "smp.example.org";

/** Settings for https on the port of the clients, with a certificate that nobody vouches for. */
function withHttps(folder, port) {
  const [cert, key] = [join(folder, "etc", "web.crt"), join(folder, "etc", "web.key")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${NAME}`,
    "-addext", `subjectAltName=DNS:${NAME}`, "-days", "30", "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { https: port, cert, key };
}

/** As Chromium takes it: of the certificate's public key. */
const keyHash = (cert) => createHash("sha256")
  .update(new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" })).digest("base64");

/** { origin, key, fingerprint, smpPort, stop } of a server that serves its pages, with TLS on its port for clients or without on one of
 * their own. `settings`: { section: { key: value } }. */
export async function startServer(settings, isSecure) {
  const folder = mkdtempSync(join(tmpdir(), "smp-web-"));
  const env = { ...process.env, SMP_SERVER_CFG_PATH: join(folder, "etc"), SMP_SERVER_LOG_PATH: join(folder, "var") };
  execFileSync(PROGRAM, ["init", "-y", "--no-password", "--fqdn", NAME], { env, stdio: "ignore" });
  const [port, http] = [await freePort(), await freePort()];
  const web = isSecure ? withHttps(folder, port) : { http };
  writeFileSync(join(folder, "etc", "smp-server.ini"), iniOf({
    ...settings, TRANSPORT: { port, ...settings.TRANSPORT }, WEB: { static_path: join(folder, "var", "www"), ...web, ...settings.WEB },
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
    key: isSecure ? keyHash(web.cert) : undefined,
    origin: isSecure ? `https://${NAME}:${port}` : `http://${NAME}:${http}`,
    fingerprint: readFileSync(join(folder, "etc", "fingerprint"), "utf8").trim(),
    smpPort: port,
    pid: server.pid,
    async stop() {
      server.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
