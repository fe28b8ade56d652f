// One exchange in full.
import { get } from "./api.js";
import { $, act, badge, fact, h, toast } from "./dom.js";
import { bytes, millis, moment, number, whole, words } from "./format.js";
import { curl } from "./curl.js";
import { tone } from "./conversations.js";

let listen = "";

// proxyAt says where the proxy listens, for commands to copy.
export function proxyAt(address) {
  listen = address;
}

export async function open(id) {
  const dialog = $("detail");
  try {
    const found = await get("/admin/conversations?" + new URLSearchParams({ id }));
    const c = found.conversations[0];
    if (!c) throw new Error("this conversation is no longer in the log");
    const { timing } = await get(`/admin/conversations/${encodeURIComponent(id)}/timing`);
    dialog.replaceChildren(...content(c, timing, () => dialog.close()));
    dialog.showModal();
    dialog.scrollTop = 0;
  } catch (error) {
    toast(error.message, true);
  }
}

export function dismissable() {
  const dialog = $("detail");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // the backdrop
}

const copy = async (text, what) => {
  await navigator.clipboard.writeText(text);
  return `${what} is on the clipboard.`;
};

function content(c, timing, close) {
  const title = (c.prompt || "(no text)").slice(0, 200);
  return [
    h("div", { class: "top" },
      h("h2", { id: "detail-title" }, title),
      h("button", { type: "button", class: "quiet", click: close, autofocus: true, "aria-label": "Close" }, "✕")),
    h("p", { class: "facts" }, badge(h("span"), tone(c.outcome), words(c.outcome)),
      h("span", null, [c.model || "no model", c.upstream, `HTTP ${c.http_status}`, moment(c.started_at)].filter(Boolean).join(" · "))),
    c.error ? h("p", { class: "problem" }, c.error) : null,
    h("div", { class: "buttons" },
      act("Copy as curl", () => copy(curl(c, listen), "The command")),
      act("Copy answer", () => copy(c.answer, "The answer")),
      act("Copy JSON", () => copy(JSON.stringify(c, null, 2), "The record"))),
    h("h3", null, "Where the time went"),
    waterfall(c, timing),
    h("h3", null, "Asked"),
    messages(c),
    c.reasoning ? h("h3", null, "Thought") : null,
    c.reasoning ? h("pre", { class: "talk", tabindex: "0", role: "region", "aria-label": "Reasoning" }, c.reasoning) : null,
    h("h3", null, "Answered"),
    h("pre", { class: "talk answer", tabindex: "0", role: "region", "aria-label": "Answer" }, c.answer || "(nothing)"),
    c.tool_calls ? h("h3", null, "Tools called") : null,
    c.tool_calls ? h("pre", { class: "talk", tabindex: "0", role: "region", "aria-label": "Tool calls" }, JSON.stringify(c.tool_calls, null, 2)) : null,
    h("h3", null, "Facts"),
    facts(c),
  ].filter(Boolean);
}

function messages(c) {
  const all = Array.isArray(c.messages) ? c.messages : [{ role: "", content: c.messages ?? c.prompt }];
  return h("div", { class: "messages" }, all.map((m) =>
    h("div", { class: "message" }, m?.role ? h("span", { class: "role" }, String(m.role)) : null,
      h("pre", { class: "talk", tabindex: "0", role: "region", "aria-label": `Message of ${m?.role || "the caller"}` }, textOf(m?.content ?? m)))));
}

// textOf is a message's content: a text, or parts of which some are texts.
function textOf(content) {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => (typeof part === "string" ? part : part?.text ?? JSON.stringify(part))).join("\n");
  return JSON.stringify(content, null, 2) ?? "";
}

// steps are the parts of an exchange in their order, in milliseconds; t is its
// timing, or null where that is not known any more.
function steps(c, t) {
  const whole = c.duration_ms;
  const found = [];
  let at = 0;
  const step = (name, until, kind) => {
    if (typeof until === "number" && until > at) {
      found.push({ name, from: at, to: until, kind });
      at = until;
    }
  };
  if (t) {
    step("Reading the request", t.received_ms, "idle");
    if (t.head_ms !== null) {
      step("Waiting for a place", at + t.queued_ms, "warn");
      step("Connecting", at + t.connect_ms, "second");
      step("Until the answer's head", t.head_ms, "accent");
    }
  }
  const first = t ? t.first_token_ms : c.time_to_first_token_ms;
  step("Until the first token", first, "accent");
  const tokens = c.completion_tokens > 1 && whole > at ? `${number(c.completion_tokens / ((whole - at) / 1000))} tokens/s` : "";
  step(typeof first === "number" ? "Answering" : "Asking and answering", whole, "ok");
  if (found.length > 0) found.at(-1).note = tokens;
  return found;
}

function waterfall(c, timing) {
  const whole = Math.max(c.duration_ms, 0.001);
  return h("ol", { class: "waterfall" }, steps(c, timing).map((s) => {
    const bar = h("span", { class: "bar " + s.kind });
    bar.style.left = (s.from / whole) * 100 + "%";
    bar.style.width = Math.max(((s.to - s.from) / whole) * 100, 0.4) + "%";
    return h("li", null, h("span", { class: "step" }, s.name), h("span", { class: "lane", "aria-hidden": "true" }, bar),
      h("span", { class: "took" }, [millis(s.to - s.from), s.note].filter(Boolean).join(", ")));
  }));
}

function facts(c) {
  const params = c.params ? JSON.stringify(c.params) : "";
  const rows = [
    ["Endpoint", c.endpoint], ["Dialect", c.dialect], ["Model reported", c.model_reported], ["Finish reason", c.finish_reason],
    ["Tokens", c.prompt_tokens === null ? "" : `${whole(c.prompt_tokens)} asked, ${whole(c.completion_tokens)} answered`],
    ["Streamed", c.streamed ? "yes" : "no"], ["Cache", c.cache_status], ["Attempts", whole(c.attempts)], ["Ended by", c.ended_by],
    ["Bytes", `${bytes(c.bytes_in)} in, ${bytes(c.bytes_out)} out`], ["Events dropped", c.dropped ? whole(c.dropped) : ""],
    ["Parameters", params], ["Session", c.session_id], ["Request id", c.request_id], ["Id", c.id], ["Caller", c.tenant], ["Instance", c.instance],
    ["Kept", [c.truncated && "the answer has no end", c.incomplete && "not all was kept", c.altered && "something was redacted or replaced"].filter(Boolean).join(", ")],
  ];
  return h("dl", { class: "list" }, rows.filter(([, v]) => v).map(([term, v]) => fact(term, v).element));
}
