// Changing something. What came of it is said at the bottom of the page.
import { get, post, put } from "./api.js";
import { $, act, fact, h, say } from "./dom.js";
import { bytes, millis, number, percent, seconds, times, whole, words } from "./format.js";

const logger = "/admin/performance/batch/conversation-logger";

// controls shows what there is, as the API's description says.
export function controls(has) {
  const box = $("actions");
  const on = {};
  if (has("/admin/performance/cache/clear")) on.cache = cache(box);
  if (has(logger + "/flush")) on.log = log(box);
  if (has("/admin/performance/memory/gc")) memory(box);
  if (has("/admin/log-level")) level(box);
  if (has("/admin/config")) config(box, has("/admin/config/reload"));
  return on;
}

const card = (box, title, ...children) => box.append(h("section", { class: "panel card", "aria-label": title }, h("h3", null, title), ...children));

// rows is a list of facts that are shown anew with each value.
function rows(kinds) {
  const shown = kinds.map(([term]) => fact(term, "–"));
  const element = h("dl", { class: "list" }, shown.map((f) => f.element));
  return { element, update: (v) => shown.forEach((f, i) => say(f.data, kinds[i][1](v))) };
}

function cache(box) {
  const facts = rows([
    ["Entries", (s) => `${whole(s.size)} of ${whole(s.maxsize)}`],
    ["Size", (s) => `${bytes(s.bytes)} of ${bytes(s.max_bytes)}`],
    ["Hit rate", (s) => `${percent(s.hit_rate)} of ${whole(s.total_requests)}`],
    ["Shared, stale", (s) => `${whole(s.coalesced)}, ${whole(s.stale_served)}`],
    ["Made room, expired", (s) => `${whole(s.evictions)}, ${whole(s.expirations)}`],
  ]);
  const model = h("input", { id: "cache-model", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "all models" });
  card(box, "Response cache", facts.element,
    h("div", { class: "field" }, h("label", { for: "cache-model" }, "Only of the model"), model),
    act("Clear the cache", async () => {
      const name = model.value.trim();
      const answer = await post("/admin/performance/cache/clear" + (name ? "?" + new URLSearchParams({ model: name }) : ""));
      facts.update(answer.stats);
      return `${times(answer.cleared, "answer")} of ${name || "all models"} forgotten.`;
    }));
  return facts.update;
}

function log(box) {
  const trouble = h("p", { class: "problem" });
  const facts = rows([
    ["Waiting", (s) => `${whole(s.queue_size)} of ${whole(s.max_queue_size)}`],
    ["Spool", (s) => (s.queue_size > 0 ? `${bytes(s.spool_bytes)}, oldest ${seconds(s.spool_oldest_seconds)}` : bytes(s.spool_bytes))],
    ["Stored", (s) => `${whole(s.total_items_inserted)} in ${s.sink}`],
    ["Batches", (s) => `${whole(s.total_batches)}, ${whole(s.failed_batches)} failed, ${millis(s.avg_flush_time_ms)} each`],
    ["Set aside, lost", (s) => {
      const why = Object.entries(s.dropped_by_reason).filter(([, n]) => n > 0).map(([name, n]) => `${words(name)} ${whole(n)}`);
      return `${whole(s.set_aside)}, ${whole(s.dropped)}${why.length > 0 ? ` (${why.join(", ")})` : ""}`;
    }],
  ]);
  card(box, "Conversation log", facts.element, trouble, act("Flush the log", async () => {
    const answer = await post(logger + "/flush");
    return `${times(answer.flushed, "conversation")} stored, ${whole(answer.remaining)} remain.`;
  }));
  return (stats) => {
    facts.update(stats);
    say(trouble, stats.sink_error ? `${stats.sink} takes nothing: ${stats.sink_error}` : "");
    trouble.hidden = !stats.sink_error;
  };
}

function memory(box) {
  card(box, "Memory", h("p", { class: "hint" }, "Frees what nothing uses any more. The process does so by itself; this is to see what is left."),
    act("Collect garbage (GC)", async () => {
      const answer = await post("/admin/performance/memory/gc");
      return `${number(answer.freed_mb)} MiB freed in ${millis(answer.duration_ms)}.`;
    }));
}

function level(box) {
  const choice = h("select", { id: "log-level" }, ["debug", "info", "warn", "error"].map((l) => h("option", { value: l }, l)));
  get("/admin/log-level").then((answer) => (choice.value = answer.level), () => {});
  card(box, "Log level", h("p", { class: "hint" }, "Holds until the next change or restart."),
    h("div", { class: "field" }, h("label", { for: "log-level" }, "Lines at least as grave as"), choice),
    act("Set the level", async () => `The log level is ${(await put("/admin/log-level", { level: choice.value })).level}.`));
}

function config(box, reloadable) {
  const text = h("pre", { class: "stack", tabindex: "0", role: "region", "aria-label": "Effective configuration" });
  const details = h("details", { toggle: async () => {
    if (details.open) say(text, JSON.stringify((await get("/admin/config")).config, null, 2));
  } }, h("summary", null, "What is in force"), text);
  const reload = reloadable ? act("Read it anew", async () => {
    const { message, changed } = await post("/admin/config/reload");
    return `Read: ${message}${changed.length > 0 ? " (" + changed.join(", ") + ")" : ""}.`;
  }) : null;
  card(box, "Configuration", h("p", { class: "hint" }, "Secrets are masked."), details, ...(reload ? [reload] : []));
}
