// The dashboard in a real Chromium, before a real proxy and its simulated backend.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { barriers, chat, cleanUp, open, proxy, shoot, signIn, signedIn, stuck, until } from "./support.mjs";

let p;
after(cleanUp);
before(async () => {
  p = await proxy(["demo"]);
});

const toast = (page) => page.locator("#toast.shown");
const rows = (page) => page.locator("#streams tbody tr");

test("the key opens it, and stays in the tab", async () => {
  const { page, wrong, close } = await open(p);
  await signIn(p, page, "no-such-key");
  await page.locator("#key-error", { hasText: "wrong key" }).waitFor();
  wrong.splice(0); // the browser itself notes the 401
  await signIn(p, page);
  await page.getByRole("heading", { name: "Health" }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  await page.reload();
  await page.locator("#link", { hasText: "live" }).waitFor(); // without asking again
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Admin key").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(wrong, []);
  await close();
});

test("a stream appears within a second, its buffer moves, and it can be cancelled", async () => {
  const { page, wrong, close } = await signedIn(p);
  await page.getByText("No answer is streaming.").waitFor();
  const began = Date.now();
  stuck(p, "demo?tokens=100000&token_bytes=4000&delay=1ms&ttft=1ms");
  await rows(page).first().waitFor();
  assert.ok(Date.now() - began < 1000, `it took ${Date.now() - began} ms`);
  const meter = page.getByRole("meter", { name: "Buffer" });
  await until("a full buffer", async () => Number(await meter.getAttribute("aria-valuenow")) > 50);
  await rows(page).getByText("blocked").waitFor();
  await rows(page).getByRole("button", { name: "Cancel the stream" }).click();
  await toast(page).getByText("is cancelled").waitFor();
  await rows(page).getByText("ended by admin").waitFor(); // it keeps its line while the pointer is there
  await page.mouse.move(0, 0);
  await until("an empty list", async () => (await rows(page).count()) === 0);
  await page.locator(".recent li", { hasText: "admin" }).first().waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test("a breaker opens, is seen, and is reset", async () => {
  const { page, wrong, close } = await signedIn(p);
  for (let i = 0; i < 6; i++) await chat(p, "demo?fail=503", "fails " + i);
  const breaker = page.getByRole("article", { name: "Circuit breaker of default" });
  await breaker.getByText(/open, asks again in \d+ s/).waitFor();
  await page.locator("#overall", { hasText: "critical" }).waitFor();
  await page.locator("#components").getByText(/circuit breaker of default is open/).waitFor();
  await breaker.getByRole("img", { name: /1 change, open for/ }).waitFor();
  await shoot(page, "breaker-open");
  await breaker.getByRole("button", { name: "Reset" }).click();
  await toast(page).getByText("is closed").waitFor();
  await breaker.getByText("closed", { exact: false }).first().waitFor();
  await breaker.getByText("2 changes of state").click();
  await breaker.getByText("reset", { exact: true }).waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test("the cache is cleared, the log flushed, garbage collected, the level set, the configuration read", async () => {
  const { page, wrong, close } = await signedIn(p);
  await chat(p, "demo?tokens=3", "to be kept");
  const controls = page.locator("#controls");
  await controls.getByText(/^[1-9]\d* of 1,000$/).first().waitFor();
  for (const [button, said] of [
    ["Clear the cache", /[1-9]\d* answers? of all models forgotten/], ["Flush the log", /conversations? stored, 0 remain/],
    ["Collect garbage (GC)", /MiB freed in/],
  ]) {
    await controls.getByRole("button", { name: button }).click();
    await toast(page).getByText(said).waitFor();
  }
  await controls.getByLabel("Lines at least as grave as").selectOption("warn");
  await controls.getByRole("button", { name: "Set the level" }).click();
  await toast(page).getByText("The log level is warn.").waitFor();
  await controls.getByLabel("Lines at least as grave as").selectOption("info");
  await controls.getByRole("button", { name: "Set the level" }).click();
  await toast(page).getByText("The log level is info.").waitFor();
  await controls.getByRole("button", { name: "Read it anew" }).click();
  await toast(page).getByText(/nothing changed/).waitFor();
  await controls.getByText("What is in force").click();
  await controls.getByText('"batchlog"').waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test("one exchange in full, and as a command that a shell reads as it was meant", async () => {
  const { page, wrong, close } = await signedIn(p);
  const prompt = `It's "quoted" $HOME \`id\` \\ and
on two lines`;
  await chat(p, "demo?tokens=30", prompt);
  await page.getByRole("button", { name: /It's "quoted"/ }).click();
  const detail = page.getByRole("dialog");
  await detail.getByText(/tokens\/s/).waitFor();
  assert.deepEqual((await detail.locator(".step").allTextContents()).filter((s) => s !== "Connecting"),
    ["Reading the request", "Until the answer's head", "Until the first token", "Answering"]);
  assert.equal(await detail.getByRole("region", { name: "Message of user" }).textContent(), prompt);
  assert.notEqual(await detail.getByRole("region", { name: "Answer" }).textContent(), "(nothing)");
  await shoot(page, "detail");
  await detail.getByRole("button", { name: "Copy as curl" }).click();
  await toast(page).getByText("The command is on the clipboard.").waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const words = execFileSync("sh", ["-c", `curl() { for word; do printf '%s\\0' "$word"; done; }\n${command}`], { encoding: "utf8" }).split("\0");
  const body = JSON.parse(words[words.indexOf("-d") + 1]);
  assert.deepEqual(body.messages, [{ role: "user", content: prompt }]);
  assert.equal(body.model, "demo?tokens=30");
  assert.equal(body.stream, true);
  assert.match(words[1], /\/v1\/chat\/completions$/);
  await page.keyboard.press("Escape");
  await detail.waitFor({ state: "hidden" });
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^It's "quoted"/); // the focus is back

  await page.getByLabel("Words in it").fill("two lines");
  await page.getByRole("button", { name: "Search" }).click();
  await until("one row", async () => (await page.locator("#talks tbody tr").count()) === 1);
  await page.getByLabel("Words in it").fill("nobody said this");
  await page.keyboard.press("Enter");
  await page.getByText("No conversation is like that.").waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test("by keyboard alone", async () => {
  const { page, wrong, close } = await open(p);
  assert.equal(await page.evaluate(() => document.activeElement.id), "key");
  await page.keyboard.type(p.key);
  await page.keyboard.press("Enter");
  await until("the focus on what has come", () => page.evaluate(() => document.activeElement.id === "main"));
  await page.reload();
  await page.locator("#link", { hasText: "live" }).waitFor();
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  await until("the link to skip", () => skip.evaluate((e) => e === document.activeElement && e.getBoundingClientRect().top >= 0));
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // All that can be pressed can be reached, and shows that it has the focus.
  const reached = new Set();
  for (let i = 0; i < 200; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const style = getComputedStyle(e.matches(".range input") ? e.nextSibling : e);
      return { name: e.textContent || e.id || e.tagName, body: e === document.body, outline: style.outlineStyle !== "none" };
    });
    if (at.body) break;
    assert.ok(at.outline, `${at.name} does not show the focus`);
    reached.add(at.name);
  }
  for (const name of ["Reset", "Search", "Clear the cache", "Flush the log", "Collect garbage (GC)", "Set the level"]) {
    assert.ok(reached.has(name), `${name} was not reached, only ${[...reached].join(", ")}`);
  }
  assert.deepEqual(wrong, []);
  await close();
});

test("a page that is not seen asks for nothing", async () => {
  const { page, wrong, close } = await signedIn(p);
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  const asked = [];
  await hide(true);
  await page.locator("#link", { hasText: "paused" }).waitFor();
  page.on("request", (request) => asked.push(request.url()));
  await chat(p, "demo?tokens=3", "unseen");
  assert.deepEqual(asked, []);
  await hide(false);
  await page.locator("#link", { hasText: "live" }).waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

for (const scheme of ["light", "dark"]) {
  for (const width of [360, 1440]) {
    test(`${scheme}, ${width} px`, async () => {
      const { page, wrong, close } = await open(p, { width, scheme });
      await shoot(page, `${scheme}-${width}-sign-in`);
      // Each colour and each width once is enough: looking takes seconds.
      const looked = async (within) => assert.deepEqual((scheme === "light") === (width === 1440) ? await barriers(page, within) : [], []);
      await looked("#sign-in");
      await signIn(p, page);
      await page.locator("#link", { hasText: "live" }).waitFor();
      const leave = stuck(p, "demo?tokens=100000&token_bytes=4000&delay=1ms&ttft=1ms");
      await rows(page).getByText("blocked").waitFor();
      await page.locator(".chart canvas").last().waitFor();
      const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(await overflow(), 0, "it scrolls sideways");
      await looked("#board");
      await shoot(page, `${scheme}-${width}`, { fullPage: true });
      await page.locator("#talks button.text").first().click();
      const detail = page.getByRole("dialog");
      await detail.getByRole("heading", { name: "Facts" }).waitFor();
      assert.equal(await overflow(), 0, "the detail makes it scroll sideways");
      assert.equal(await detail.evaluate((e) => e.scrollWidth - e.clientWidth), 0, "the detail scrolls sideways");
      await looked("#detail");
      await shoot(page, `${scheme}-${width}-detail`);
      leave();
      assert.deepEqual(wrong, []);
      await close();
    });
  }
}
