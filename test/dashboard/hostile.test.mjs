// What clients, models and other pages write or try must do nothing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, chat, cleanUp, proxy, server, signedIn, until } from "./support.mjs";
import { payloads } from "./payloads.mjs";

// echo is a backend that says everything back: as an answer, or as an error.
async function echo(request, response) {
  let body = "";
  for await (const part of request) body += part;
  const { model, messages } = JSON.parse(body);
  const text = messages.at(-1).content;
  if (text.startsWith("error:")) {
    response.writeHead(400, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: { message: text.slice(6), type: text.slice(6), code: null } }));
    return;
  }
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const chunk = (delta, finish_reason = null) => response.write(`data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", created: 1, model, choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
  chunk({ role: "assistant", content: text });
  if (text.startsWith("forever:")) return; // until the client leaves
  chunk({}, "stop");
  response.end("data: [DONE]\n\n");
}

let p;
after(cleanUp);
before(async () => {
  p = await proxy(["serve", "--upstream", await server(echo)], { VEGA_BREAKER_FAIL_THRESHOLD: "100000" });
});

// harmless holds that nothing ran and nothing was made of what was shown.
async function harmless(page, wrong) {
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  assert.deepEqual(await page.evaluate(() =>
    [...document.querySelectorAll("script, img, iframe, svg, object, embed, style, base, form, input, link, meta")]
      .filter((e) => e.src?.includes("//x") || e.outerHTML.includes("hit") || [...e.attributes].some((a) => a.name.startsWith("on"))).map((e) => e.outerHTML)), []);
  assert.deepEqual(wrong, []);
}

test("100 payloads as model, prompt, header and error are text", async () => {
  assert.equal(new Set(payloads).size, 100);
  const { page, wrong, close } = await signedIn(p);
  const header = (text) => ({ "X-Session-Id": text.replaceAll(/[^ -~]/g, "?"), "X-Request-Id": text.replaceAll(/[^!-~]/g, "_") });
  for (const text of payloads) {
    await chat(p, text, text, header(text));
    await chat(p, text, "error:" + text, header(text));
  }
  await page.locator("#talks tbody tr").first().waitFor();
  await page.getByRole("button", { name: "Flush the log" }).click();
  await page.locator("#toast.shown").waitFor();
  await page.getByLabel("Outcome").selectOption("ok");
  await page.getByRole("button", { name: "Search" }).click();
  const list = page.locator("#talks tbody tr");
  await until("only good ones", async () => (await list.locator("td:nth-child(2)").allTextContents()).every((t) => t.includes("ok")));
  for (let n = await list.count(); n < 100; ) {
    await page.getByRole("button", { name: "Show older ones" }).click();
    n = await until("more", async () => (await list.count()) > n && list.count());
  }
  const cells = await list.evaluateAll((all) => all.map((row) => [row.cells[2].textContent, row.cells[3].textContent]));
  assert.deepEqual(cells, payloads.toReversed().map((text) => [text, text]));
  await harmless(page, wrong);

  const detail = page.getByRole("dialog");
  const show = async (i) => {
    await list.nth(i).getByRole("button").click();
    await detail.getByRole("heading", { name: "Facts" }).waitFor();
  };
  for (let i = 0; i < 100; i += 7) {
    const text = payloads[99 - i];
    await show(i);
    assert.equal(await detail.getByRole("heading", { level: 2 }).textContent(), text);
    assert.equal(await detail.getByRole("region", { name: "Message of user" }).textContent(), text);
    assert.equal(await detail.getByRole("region", { name: "Answer" }).textContent(), text);
    await page.keyboard.press("Escape");
  }
  await harmless(page, wrong);

  await page.getByLabel("Outcome").selectOption("upstream_error");
  await page.getByRole("button", { name: "Search" }).click();
  await until("only bad ones", async () => (await list.locator("td:nth-child(2)").allTextContents()).every((t) => t.includes("upstream error")));
  for (let i = 0; i < 25; i += 5) {
    await show(i);
    assert.equal(await detail.locator(".problem").textContent(), payloads[99 - i]);
    await page.keyboard.press("Escape");
  }
  await harmless(page, wrong);
  await close();
});

test("payloads in running streams are text", async () => {
  const { page, wrong, close } = await signedIn(p);
  const leave = new AbortController();
  const some = payloads.filter((_, i) => i % 5 === 0);
  const asked = some.map((text) => fetch(p.url + "/v1/chat/completions", {
    method: "POST", signal: leave.signal, headers: { "Content-Type": "application/json", "X-Request-Id": text.replaceAll(/[^!-~]/g, "_") },
    body: JSON.stringify({ model: text, stream: true, messages: [{ role: "user", content: "forever:" + text }] }),
  }));
  await Promise.all(asked);
  const models = page.locator("#streams tbody tr td:first-child");
  await until("all streams", async () => (await models.count()) === some.length);
  assert.deepEqual((await models.allTextContents()).toSorted(), some.toSorted());
  await harmless(page, wrong);
  leave.abort();
  await until("their end", async () => (await models.count()) === 0);
  await harmless(page, wrong);
  await close();
});

test("a page of another origin can neither read, nor change, nor frame it", async () => {
  const elsewhere = await server((_, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!doctype html><title>elsewhere</title>");
  });
  const page = await (await browser()).newPage();
  await page.goto(elsewhere + "/");
  const before = p.log().length;
  const tried = await page.evaluate(async ({ admin, key }) => {
    const ask = (path, options) => fetch(admin + path, options).then((r) => r.type, () => "failed");
    const frame = document.createElement("iframe");
    frame.src = admin + "/";
    const framed = new Promise((done) => (frame.onload = done));
    document.body.append(frame);
    await framed;
    let inside = "hidden";
    try {
      inside = frame.contentDocument?.body?.textContent ?? "hidden";
    } catch {
      // as it should be
    }
    return {
      reading: await ask("/admin/config", { headers: { "X-API-Key": key } }),
      events: await ask("/admin/live", { headers: { "X-API-Key": key } }),
      changing: await ask("/admin/performance/cache/clear", { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: "x" }),
      form: await ask("/admin/performance/memory/gc", { method: "POST", mode: "no-cors", body: new URLSearchParams({ key }) }),
      inside,
    };
  }, { admin: p.admin, key: p.key });
  assert.deepEqual(tried, { reading: "failed", events: "failed", changing: "failed", form: "failed", inside: "hidden" });
  const log = await until("a line about it", () => p.log().slice(before).includes("origin_refused") && p.log().slice(before));
  assert.ok(!log.includes('"admin change"'), log);
  await page.close();
});

test("a name that was rebound to the listener is refused", async () => {
  const page = await (await browser()).newPage();
  const response = await page.goto(p.admin.replace("127.0.0.1", "rebound.example") + "/");
  assert.equal(response.status(), 403);
  assert.match(await page.content(), /host_refused/);
  await page.close();
});

// Last: afterwards there is no proxy.
test("a proxy that is gone is said to be", async () => {
  const { page, close } = await signedIn(p);
  await p.stop();
  await page.locator("#link", { hasText: "not reachable" }).waitFor();
  await page.locator("#overall", { hasText: "unknown" }).waitFor();
  await close();
});
