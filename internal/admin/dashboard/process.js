// The process itself: whether its goroutines get to run, what it holds, what was slow.
import { get } from "./api.js";
import { $, fact, h, list, newBadge, say, table } from "./dom.js";
import { bytes, millis, moment, percent, seconds, times, whole, words } from "./format.js";

const every = 10_000;
const mb = (v) => (typeof v === "number" ? bytes(v * 1048576) : "–");

const loopFacts = [
  ["Running for", (s) => seconds(s.monitoring_duration)],
  ["Exchanges in flight", (s) => `${whole(s.current_pending_tasks)}, at most ${whole(s.max_pending_tasks)}`],
  ["Steps done", (s) => whole(s.total_callbacks)],
  ["Slow ones", (s) => whole(s.slow_callbacks_count)],
  ["Longest step", (s) => millis(s.max_callback_time_ms)],
  ["Stalls", (s) => whole(s.loop_stalls)],
  ["Wait for a processor, 99 %", (s) => millis(s.sched_latency_p99_ms)],
  ["Collector's pauses, 99 %", (s) => millis(s.gc_pause_p99_ms)],
  ["Waited for locks", (s) => seconds(s.mutex_wait_seconds)],
];

const memoryFacts = [
  ["Resident", (m) => mb(m.process_memory?.rss_mb)],
  ["Heap", (m) => `${mb(m.heap_mb)}, ${mb(m.heap_live_mb)} live`],
  ["Stacks", (m) => mb(m.stack_mb)],
  ["Growth per hour", (m) => `${percent(m.growth_per_hour.ratio_per_hour)}, ${mb(m.growth_per_hour.mb_per_hour)}`],
  ["Collections", (m) => whole(m.gc_collections)],
  ["Files open", (m) => `${whole(m.file_descriptors?.open)} of ${whole(m.file_descriptors?.limit)}`],
  ["Objects followed", (m) => `${whole(m.objects_currently_alive)} of ${whole(m.objects_tracked)}`],
];

export function process() {
  const loop = facts(loopFacts);
  const memory = facts(memoryFacts);
  const leaks = h("span");
  const kinds = table("Objects that are followed, by type", [
    { title: "Type" }, { title: "Alive", class: "n" }, { title: "Size", class: "n" }, { title: "Mean age", class: "n" }, { title: "Leaks", class: "n" }]);
  const types = list(kinds.body, (t) => t.name, () => cells(kinds.row(), (t) => [
    words(t.name), whole(t.count), mb(t.total_size_mb), seconds(t.avg_age_seconds), whole(t.leaks)]));
  const slow = h("ul", { class: "slow", "aria-label": "Recent slow callbacks" });
  const none = h("p", { class: "empty" }, "None was slow.");
  const steps = list(slow, (s) => s.name + s.started_at + s.request_id, step);
  $("runtime").append(
    h("div", { class: "panel" }, h("h3", null, "Scheduler"), loop.element),
    h("div", { class: "panel" }, h("div", { class: "head" }, h("h3", null, "Memory"), leaks), memory.element, kinds.element),
    h("div", { class: "panel" }, h("h3", null, "Recent slow callbacks"), slow, none));

  let seen = "";
  async function look() {
    if (document.hidden) return;
    try {
      const [s, m] = await Promise.all([get("/admin/performance/event-loop/status"), get("/admin/performance/memory/leaks")]);
      loop.update(s);
      memory.update(m);
      leaks.replaceChildren(newBadge(m.potential_leaks > 0 ? "bad" : "ok", times(m.potential_leaks, "leak")));
      types.update(Object.entries(m.by_type).map(([name, t]) => ({ name, ...t })).sort((a, b) => a.name.localeCompare(b.name)));
      steps.update((s.recent_slow_callbacks ?? []).slice(-20).sort((a, b) => Date.parse(b.started_at) - Date.parse(a.started_at)));
      none.hidden = slow.children.length > 0;
    } catch {
      // the header says that the server is not there
    }
  }
  look();
  setInterval(look, every);
  return (point) => {
    const now = `${point?.slow_callbacks} ${point?.leaks}`;
    if (seen && seen !== now) look();
    seen = now;
  };
}

function facts(kinds) {
  const shown = kinds.map(([term]) => fact(term, "–"));
  return {
    element: h("dl", { class: "list" }, shown.map((f) => f.element)),
    update: (value) => shown.forEach((f, i) => say(f.data, kinds[i][1](value))),
  };
}

function cells(row, texts) {
  return { element: row.element, update: (item) => texts(item).forEach((text, i) => say(row.cells[i], text)) };
}

function step(s) {
  const took = h("span", { class: "count" });
  const place = h("pre", { class: "stack", tabindex: "0", role: "region", "aria-label": "Stack" });
  return {
    element: h("li", null, h("details", null, h("summary", null, h("span", { class: "name" }, words(s.name)), took), place)),
    update(s) {
      say(took, `${millis(s.duration_ms)}${s.running ? " so far" : ""}, ${moment(s.started_at)}${s.request_id ? ", " + s.request_id : ""}`);
      say(place, s.stack?.length > 0 ? s.stack.join("\n") : "It ended before it was looked at.");
    },
  };
}
