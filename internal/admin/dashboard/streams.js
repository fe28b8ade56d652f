// The answers that stream now, with their buffers.
import { post } from "./api.js";
import { $, act, badge, h, list, say, table } from "./dom.js";
import { bytes, moment, seconds, times, whole, words } from "./format.js";

const tones = { normal: "ok", warning: "warn", throttled: "warn", blocked: "bad" };

export function streams() {
  const { element, body, row } = table("Running streams", [
    { title: "Model", class: "wide" }, { title: "Upstream" }, { title: "Client" }, { title: "State" }, { title: "Buffer", class: "buffer" },
    { title: "Events", class: "n" }, { title: "First token", class: "n" }, { title: "For", class: "n" }, { title: "Cancel", hidden: true, class: "do" },
  ]);
  const title = h("h3", null, "Streams");
  const count = h("span", { class: "count" });
  const empty = h("p", { class: "empty" }, "No answer is streaming.");
  const recent = h("ul", { class: "recent", "aria-label": "Streams that ended last" });
  $("streams").append(h("div", { class: "head" }, title, count), element, empty, h("h4", null, "Ended last"), recent);

  const rows = list(body, (s) => s.id + s.started_at, () => stream(row()));
  const past = list(recent, (s) => s.id + s.started_at, ended);
  let kept = [];
  let news = { streams: [], recent: [], total: 0 };

  // While the pointer or the keyboard is in the table, nothing in it moves: streams
  // that have ended keep their place, and new ones come last.
  const held = () => body.matches(":hover") || body.querySelector(":focus-visible");

  function draw() {
    const live = new Map(news.streams.map((s) => [s.id + s.started_at, s]));
    const ends = new Map(news.recent.map((s) => [s.id + s.started_at, s]));
    const stay = held()
      ? kept.filter((s) => !live.has(s.id + s.started_at)).map((s) => ({ ...(ends.get(s.id + s.started_at) ?? s), over: true }))
      : [];
    kept = [...stay, ...news.streams].sort((a, b) => Date.parse(a.started_at) - Date.parse(b.started_at));
    rows.update(kept);
    element.hidden = kept.length === 0;
    empty.hidden = kept.length > 0;
    say(count, news.total > news.streams.length
      ? `${whole(news.total)} running; the ${news.streams.length} in most trouble are shown` : `${whole(news.total)} running`);
    past.update(news.recent.slice(0, 8));
    recent.previousSibling.hidden = news.recent.length === 0;
  }

  for (const left of ["mouseleave", "focusout"]) body.addEventListener(left, () => setTimeout(draw));
  return (value) => {
    news = value;
    draw();
  };
}

function stream({ element, cells }) {
  const [model, upstream, client, state, buffer, events, first, age, action] = cells;
  const fill = h("span", { class: "fill" });
  const meter = h("span", { class: "meter", role: "meter", "aria-label": "Buffer", "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  const held = h("span");
  const status = h("span");
  let id = "";
  let name = "";
  const cancel = act("Cancel", async () => {
    await post(`/admin/performance/streams/${encodeURIComponent(id)}/cancel`);
    return `The stream of ${name} is cancelled.`;
  });
  state.append(status);
  buffer.append(meter, held);
  action.append(cancel);
  return {
    element,
    update(s) {
      id = s.id;
      name = s.model || "no model";
      say(model, name);
      model.title = s.id;
      say(upstream, s.upstream);
      say(client, s.client);
      badge(status, s.over ? "idle" : tones[s.state] ?? "bad", s.over ? `ended by ${s.ended_by ?? "…"}` : words(s.state));
      const used = Math.min(s.buffer_usage_percent, 100);
      fill.style.width = used + "%";
      fill.className = "fill " + (tones[s.state] ?? "bad");
      meter.setAttribute("aria-valuenow", used.toFixed(0));
      say(held, `${whole(s.buffer_size)} of ${whole(s.buffer_capacity)}`);
      say(events, whole(s.chunks_produced) + (s.chunks_dropped > 0 ? `, ${whole(s.chunks_dropped)} dropped` : ""));
      say(first, seconds(s.time_to_first_token_seconds ?? undefined));
      say(age, seconds(s.duration_seconds));
      cancel.setAttribute("aria-label", `Cancel the stream of ${name} to ${s.client}`);
      cancel.hidden = Boolean(s.over) && cancel !== document.activeElement; // which would lose the focus
      element.classList.toggle("over", Boolean(s.over));
    },
  };
}

const bad = new Set(["error", "timeout", "stall"]);

function ended(s) {
  const tone = s.ended_by === "upstream" ? "ok" : bad.has(s.ended_by) ? "bad" : "idle";
  return {
    element: h("li", null, badge(h("span"), tone, s.ended_by), h("span", { class: "name", title: s.model }, s.model || "no model"),
      h("span", { class: "count" }, `${times(s.chunks_produced, "event")}, ${bytes(s.bytes_produced)} in ${seconds(s.duration_seconds)}, ${moment(s.ended_at)}`)),
    update() {},
  };
}
