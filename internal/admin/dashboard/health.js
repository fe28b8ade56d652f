// Is it up: the parts with their reasons, and the breakers with what they did.
import { post } from "./api.js";
import { $, act, badge, h, list, newBadge, say } from "./dom.js";
import { clock, moment, percent, seconds, times, whole, words } from "./format.js";

const tones = { healthy: "ok", warning: "warn", critical: "bad" };
const states = { closed: "ok", half_open: "warn", open: "bad" };
const span = 3600_000;

export function overall(status) {
  badge($("overall"), tones[status] ?? "idle", words(status));
}

export function health() {
  const parts = list($("components"), (c) => c.name, () => {
    const status = h("span");
    const reasons = h("ul", { class: "reasons" });
    const lines = list(reasons, (r) => r, (r) => ({ element: h("li", null, r), update() {} }));
    const name = h("span", { class: "name" });
    return {
      element: h("li", null, h("div", null, name, status), reasons),
      update(c) {
        say(name, words(c.name));
        badge(status, tones[c.status] ?? "bad", words(c.status));
        lines.update([...new Set(c.reasons)]);
      },
    };
  });
  return (report) => {
    overall(report.status);
    parts.update(report.components);
  };
}

export function breakers() {
  let all = {};
  let changes = [];
  let started = 0;
  const box = $("breakers");
  const rows = list(box, (b) => b.name, breaker);

  // A timeline moves with time, not only with news.
  const draw = () => rows.update(Object.values(all).map((b) => ({ ...b, started, changes: changes.filter((c) => c.name === b.name) })));
  setInterval(draw, 10_000);
  return {
    breakers(news) {
      all = news.circuit_breakers;
      draw();
    },
    now(point) {
      const before = started;
      started = (point?.started_at ?? 0) * 1000;
      if (started !== before) draw();
    },
    transitions(news) {
      changes = news.transitions;
      draw();
    },
  };
}

function breaker({ name }) {
  const state = h("span");
  const track = h("div", { class: "track", role: "img" });
  const facts = h("p", { class: "facts" });
  const error = h("p", { class: "error" });
  const changes = h("ol", { class: "changes" });
  const count = h("summary");
  const past = list(changes, (c) => c.at + c.from + c.to, (c) => ({
    element: h("li", null, h("time", { datetime: c.at }, moment(c.at)), newBadge(states[c.to] ?? "idle", words(c.to)),
      h("span", null, c.open_for_seconds > 0 ? `for ${seconds(c.open_for_seconds)}: ${c.cause}` : c.cause)),
    update() {},
  }));
  const details = h("details", null, count, changes);
  const reset = act("Reset", async () => {
    await post(`/admin/performance/circuit-breaker/${encodeURIComponent(name)}/reset`);
    return `The circuit breaker of ${name} is closed.`;
  }, { "aria-label": `Reset the circuit breaker of ${name}` });
  const element = h("article", { "aria-label": `Circuit breaker of ${name}` },
    h("div", { class: "line" }, h("h3", null, name), state, reset),
    track, h("div", { class: "ends", "aria-hidden": "true" }, h("span", null, "1 h ago"), h("span", null, "now")),
    facts, error, details);
  return {
    element,
    update(b) {
      const left = b.state === "open" ? (b.seconds_until_retry > 0 ? `, asks again in ${Math.ceil(b.seconds_until_retry)} s` : ", asks again with the next request") : "";
      badge(state, states[b.state] ?? "idle", words(b.state) + left);
      const m = b.metrics;
      say(facts, [
        times(m.total_requests, "request"), `${percent(m.success_rate)} well`, `${whole(m.failed_requests)} failed`,
        `${whole(m.rejected_requests)} refused`, `since ${moment(b.last_state_change)}`,
      ].join(" · "));
      say(error, b.last_error ? `Last error: ${b.last_error}` : "");
      error.hidden = !b.last_error;
      error.classList.toggle("fresh", b.state !== "closed");
      details.hidden = b.changes.length === 0;
      say(count, times(b.changes.length, "change of state", "changes of state"));
      past.update(b.changes.slice(-50).reverse());
      paint(track, segments(b, Date.now()));
    },
  };
}

// segments is what state the breaker was in through the last hour.
function segments(b, now) {
  const begin = now - span;
  let state = b.changes.length > 0 ? b.changes[0].from : b.state;
  let since = Math.max(begin, b.started);
  const found = [];
  for (const c of b.changes) {
    const at = Date.parse(c.at);
    if (at > begin) {
      found.push({ state, from: since, to: Math.min(at, now) });
      since = at;
    }
    state = c.to;
  }
  found.push({ state, from: since, to: now });
  return found.map((s) => ({ ...s, left: (s.from - begin) / span, width: (s.to - s.from) / span }));
}

function paint(track, parts) {
  while (track.children.length > parts.length) track.lastChild.remove();
  while (track.children.length < parts.length) track.append(h("span"));
  parts.forEach((p, i) => {
    const piece = track.children[i];
    piece.className = states[p.state] ?? "idle";
    piece.style.left = p.left * 100 + "%";
    piece.style.width = p.width * 100 + "%";
    piece.title = `${words(p.state)} from ${clock(p.from)} to ${clock(p.to)}`;
  });
  const open = parts.filter((p) => p.state === "open").reduce((sum, p) => sum + p.to - p.from, 0);
  const text = `In the last hour: ${times(parts.length - 1, "change")}, open for ${open > 0 ? seconds(open / 1000) : "no time"}`;
  if (track.getAttribute("aria-label") !== text) track.setAttribute("aria-label", text);
}
