// What the tests share: the built program, a browser, and traffic.
import { spawn, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const root = new URL("../..", import.meta.url).pathname;
const program = process.env.VEGA_PROXY ?? join(root, "bin/vega-proxy");
export const shots = join(root, "bin/dashboard");
const patience = 20_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What is to be ended, the last begun first. A file of tests says after(cleanUp).
const ends = [];
const after = (end) => ends.unshift(end);

export async function cleanUp() {
  for (const end of ends.splice(0)) await end();
}

// until waits for a value that is not false.
export async function until(what, ask) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await ask();
    if (value) return value;
    if (Date.now() > end) throw new Error("it never came: " + what);
    await pause(25);
  }
}

// proxy starts the program; it ends with the tests, at the latest.
export async function proxy(command, env = {}) {
  const dir = mkdtempSync(join(tmpdir(), "vega-dashboard-"));
  const child = spawn(program, [...command, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", join(dir, "data")], {
    cwd: dir, env: { PATH: process.env.PATH, VEGA_BATCHLOG_FLUSH_INTERVAL: "100ms", ...env }, stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const ended = new Promise((done) => child.on("exit", done));
  const p = {
    log: () => log,
    async stop() {
      child.kill();
      await ended;
    },
  };
  after(async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(dir, { recursive: true });
  });
  const address = (what) => until(`${what} listening\n${log}`, () => log.match(new RegExp(`"${what} listening","address":"([^"]+)"`))?.[1]);
  p.admin = "http://" + (await address("admin"));
  p.url = "http://" + (await address("proxy"));
  p.key = readFileSync(join(dir, "data/admin-key"), "utf8").trim();
  return p;
}

// chat asks once and returns the answer's text.
export async function chat(p, model, prompt, headers = {}) {
  const response = await fetch(p.url + "/v1/chat/completions", {
    method: "POST", headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ model, messages: [{ role: "user", content: prompt }], stream: true, stream_options: { include_usage: true } }),
  });
  return response.text();
}

// stuck asks for a stream and takes nothing of it. It returns how to leave.
export function stuck(p, model) {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "slowly" }] });
  const socket = connect(Number(new URL(p.url).port), "127.0.0.1");
  socket.on("error", () => {}); // it is cut off in the end
  socket.pause();
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  after(() => socket.destroy());
  return () => socket.destroy();
}

// server listens on a port of its own.
export async function server(handler) {
  const s = createServer(handler);
  await new Promise((done) => s.listen(0, "127.0.0.1", done));
  after(() => {
    s.closeAllConnections();
    s.close();
  });
  return "http://127.0.0.1:" + s.address().port;
}

let running;

// browser is Debian's Chromium, one for a file of tests. It looks up no host but
// what maps says.
export function browser() {
  running ??= (async () => {
    const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync) ??
      execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
    const b = await chromium.launch({
      executablePath: path,
      args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP rebound.example 127.0.0.1", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])],
    });
    after(() => b.close());
    return b;
  })();
  return running;
}

// open opens the dashboard in a context of its own, and notes all that must not be:
// words on the console, mistakes, requests to other hosts, the key in a URL.
export async function open(p, { width = 1440, scheme = "light", ...options } = {}) {
  const context = await (await browser()).newContext({
    viewport: { width, height: width < 600 ? 740 : 900 }, colorScheme: scheme, permissions: ["clipboard-read", "clipboard-write"], ...options,
  });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("dialog", (dialog) => {
    wrong.push("a dialog: " + dialog.message());
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(p.admin + "/") && !url.startsWith("blob:")) wrong.push("a request to " + url);
    if (url.includes(p.key)) wrong.push("the key is in " + url);
  });
  await page.goto(p.admin + "/");
  return { page, wrong, close: () => context.close() };
}

export async function signIn(p, page, key = p.key) {
  await page.getByLabel("Admin key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
}

// signedIn is a page that shows everything and is told of news.
export async function signedIn(p, options) {
  const opened = await open(p, options);
  await signIn(p, opened.page);
  await opened.page.locator("#link", { hasText: "live" }).waitFor();
  return opened;
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// barriers is what axe finds within that is serious or critical.
export async function barriers(page, within = "body") {
  await page.evaluate(axe);
  const found = await page.evaluate((selector) => globalThis.axe.run(selector), within);
  return found.violations.filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`);
}

export function shoot(page, name, options) {
  mkdirSync(shots, { recursive: true });
  return page.screenshot({ path: join(shots, name + ".png"), ...options });
}
