// What was asked and answered of late, as the log has it.
import { get } from "./api.js";
import { $, badge, h, list, say, table } from "./dom.js";
import { millis, moment, whole, words } from "./format.js";
import { open } from "./detail.js";

const outcomes = ["ok", "client_gone", "upstream_error", "truncated", "timeout", "rejected", "cancelled", "shutting_down"];
const tones = { ok: "ok", client_gone: "idle", cancelled: "idle", shutting_down: "idle", rejected: "warn", truncated: "bad", timeout: "bad", upstream_error: "bad" };
export const tone = (outcome) => tones[outcome] ?? "bad";

const page = 25;
const rest = 2000; // between two looks, in milliseconds

export function conversations() {
  const text = h("input", { type: "search", id: "talk-text", autocomplete: "off" });
  const model = h("input", { type: "text", id: "talk-model", autocomplete: "off", spellcheck: "false" });
  const outcome = h("select", { id: "talk-outcome" }, h("option", { value: "" }, "any"), outcomes.map((o) => h("option", { value: o }, words(o))));
  const field = (label, input) => h("div", { class: "field" }, h("label", { for: input.id }, label), input);
  const form = h("form", { class: "filter", role: "search", submit },
    field("Words in it", text), field("Model", model), field("Outcome", outcome), h("button", { type: "submit" }, "Search"));
  const { element, body, row } = table("Conversations", [
    { title: "Began" }, { title: "Outcome" }, { title: "Prompt", class: "wide" }, { title: "Model", class: "model" }, { title: "Tokens", class: "n" },
    { title: "First token", class: "n" }, { title: "Took", class: "n" }, { title: "Cache", class: "cache" },
  ]);
  const note = h("p", { class: "empty", role: "status" });
  const waiting = h("span", { class: "count" });
  const more = h("button", { type: "button", hidden: true, click: () => load(true) }, "Show older ones");
  $("talks").append(form, element, note, h("div", { class: "foot" }, more, waiting));

  const rows = list(body, (c) => c.id, () => talk(row()));
  let shown = [];
  let cursor = "";
  let paged = false;
  let stored = -1;
  let timer = 0;
  let asked = 0;

  function query() {
    const q = new URLSearchParams({ limit: page, brief: "true" });
    if (text.value.trim()) q.set("q", text.value.trim());
    if (model.value.trim()) q.set("model", model.value.trim());
    if (outcome.value) q.set("outcome", outcome.value);
    return q;
  }

  async function load(older) {
    const q = query();
    if (older) q.set("cursor", cursor);
    const turn = ++asked;
    try {
      const found = await get("/admin/conversations?" + q);
      if (turn !== asked) return; // another search has begun since
      shown = older ? [...shown, ...found.conversations] : found.conversations;
      cursor = found.next_cursor ?? "";
      paged = older;
      rows.update(shown);
      more.hidden = !cursor;
      element.hidden = shown.length === 0;
      note.hidden = shown.length > 0;
      say(note, q.size > 2 ? "No conversation is like that." : "No conversation is stored yet.");
    } catch (error) {
      if (turn !== asked) return;
      note.hidden = false;
      say(note, error.message);
    }
  }

  function submit(event) {
    event.preventDefault();
    load(false);
  }

  load(false);
  return (log) => {
    say(waiting, log.queue_size > 0 ? `${whole(log.queue_size)} more wait to be stored` : "");
    const now = log.total_items_inserted + log.total_items_amended;
    if (now === stored) return;
    stored = now;
    if (paged || timer) return; // who reads on is not disturbed
    timer = setTimeout(() => {
      timer = 0;
      if (!paged) load(false);
    }, rest);
  };
}

function talk({ element, cells }) {
  const [began, outcome, prompt, model, tokens, first, took, cache] = cells;
  const status = h("span");
  let id = "";
  const link = h("button", { type: "button", class: "text", click: () => open(id) });
  outcome.append(status);
  prompt.append(link);
  return {
    element,
    update(c) {
      id = c.id;
      say(began, moment(c.started_at));
      badge(status, tone(c.outcome), words(c.outcome));
      say(link, c.prompt || c.error || "(no text)");
      say(model, c.model || "–");
      model.title = c.model;
      say(tokens, c.prompt_tokens === null && c.completion_tokens === null ? "–" : `${whole(c.prompt_tokens)} → ${whole(c.completion_tokens)}`);
      say(first, millis(c.time_to_first_token_ms));
      say(took, millis(c.duration_ms));
      say(cache, (c.cache_status || "–").toLowerCase());
    },
  };
}
