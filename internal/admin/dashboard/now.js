// What is happening: figures of this moment, each with its last minutes as a line.
import { $, h, say } from "./dom.js";
import { bytes, number, percent, seconds, whole } from "./format.js";

const length = 180; // points, 15 minutes
const least = 36; // so many points take the whole width

// Each tile has a main figure, which is drawn too, and words below it.
const kinds = [
  { title: "Requests", unit: "/s", figure: "requests_per_second", show: number, below: (p) => `${whole(p.requests_in_flight)} in flight` },
  { title: "Errors", unit: "/s", figure: "errors_per_second", show: number, below: (p) => `${number(p.refused_per_second)}/s refused with 4xx`, alarm: (v) => v > 0 },
  { title: "First token", figure: "first_token_p50_seconds", show: seconds, below: (p) => `95 %: ${seconds(p.first_token_p95_seconds)}` },
  { title: "Between tokens", figure: "gap_p50_seconds", show: seconds, below: (p) => `95 %: ${seconds(p.gap_p95_seconds)}` },
  { title: "Streams", figure: "streams", show: whole, below: (p) => `${bytes(p.buffered_bytes)} held back` },
  { title: "Waiting for a place", figure: "queue_waiting", show: whole, below: () => "at the upstreams", alarm: (v) => v > 0 },
  { title: "Cache hit rate", figure: "cache_hit_rate", show: percent, below: (_, s) => (s.cache ? `${whole(s.cache.size)} entries, ${bytes(s.cache.bytes)}` : "the cache is off") },
  { title: "Log queue", figure: "log_queue", show: whole, below: (p, s) => (s.log ? `${bytes(p.spool_bytes)} in the spool` : "the log is off"), alarm: (_, s) => s.log?.sink_error },
];

export function now() {
  const state = { cache: null, log: null };
  let point = null;
  const points = [];
  const tiles = kinds.map(tile);
  $("tiles").append(...tiles.map((t) => t.element));
  const draw = () => point && tiles.forEach((t) => t.update(point, state));
  const trace = () => tiles.forEach((t) => t.trace(points));
  return {
    history(past) {
      points.splice(0, points.length, ...past.at.slice(-length).map((at, i) => {
        const j = Math.max(past.at.length - length, 0) + i;
        return Object.fromEntries(kinds.map((k) => [k.figure, past[k.figure][j]]));
      }));
      trace();
    },
    point(p) {
      points.push(p);
      if (points.length > length) points.shift();
      trace();
    },
    now(p) {
      point = p ?? point;
      draw();
    },
    cache(stats) {
      state.cache = stats;
      draw();
    },
    log(stats) {
      state.log = stats;
      draw();
    },
  };
}

const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

function tile(kind) {
  const value = h("span", { class: "value" }, "–");
  const below = h("span", { class: "below" });
  const line = svg("path", { class: "line" });
  const picture = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(line);
  const element = h("div", { class: "tile", role: "group", "aria-label": kind.title },
    h("span", { class: "title" }, kind.title), h("span", { class: "main" }, value, h("span", { class: "unit" }, kind.unit ?? "")), below, picture);
  return {
    element,
    update(point, state) {
      const v = point[kind.figure];
      say(value, kind.show(v));
      say(below, kind.below(point, state));
      element.classList.toggle("alarm", Boolean(kind.alarm?.(v, state)));
    },
    trace(points) {
      const values = points.map((p) => p[kind.figure]);
      const most = Math.max(...values.map((v) => v ?? 0), 1e-9);
      let path = "";
      let pen = false;
      values.forEach((v, i) => {
        if (v === null || v === undefined) {
          pen = false;
          return;
        }
        const x = (100 - ((values.length - 1 - i) * 100) / (Math.max(values.length, least) - 1)).toFixed(1);
        path += `${pen ? "L" : "M"}${x} ${(22.5 - (v / most) * 21).toFixed(1)}`;
        pen = true;
      });
      line.setAttribute("d", path);
    },
  };
}
