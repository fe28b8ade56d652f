// How the last hour was.
import { $, h } from "./dom.js";
import { bytes, number, percent, seconds, whole } from "./format.js";
import { plot } from "./plot.js";

const length = 720;
const ranges = [["5 min", 60], ["15 min", 180], ["1 h", length]];

const kinds = [
  { title: "Requests per second", show: number, series: [
    { name: "all", figure: "requests_per_second", colour: "accent", fill: true },
    { name: "refused, 4xx", figure: "refused_per_second", colour: "warn" },
    { name: "errors", figure: "errors_per_second", colour: "bad" }] },
  { title: "Time to first token", show: seconds, least: 0.01, series: [
    { name: "half of them", figure: "first_token_p50_seconds", colour: "accent" },
    { name: "95 %", figure: "first_token_p95_seconds", colour: "second" }] },
  { title: "Time between tokens", show: seconds, least: 0.01, series: [
    { name: "half of them", figure: "gap_p50_seconds", colour: "accent" },
    { name: "95 %", figure: "gap_p95_seconds", colour: "second" }] },
  { title: "Cache hit rate", show: percent, most: 1, series: [{ name: "answered from the cache", figure: "cache_hit_rate", colour: "ok", fill: true }] },
  { title: "In flight", show: whole, least: 4, series: [
    { name: "requests", figure: "requests_in_flight", colour: "accent", fill: true },
    { name: "streams", figure: "streams", colour: "second" },
    { name: "waiting", figure: "queue_waiting", colour: "warn" }] },
  { title: "Held for slow clients", show: bytes, binary: true, least: 1024, series: [{ name: "buffers", figure: "buffered_bytes", colour: "accent", fill: true }] },
  { title: "Log queue", show: whole, least: 4, series: [{ name: "conversations", figure: "log_queue", colour: "accent", fill: true }] },
  { title: "Spool on disk", show: bytes, binary: true, least: 1024, series: [{ name: "spool", figure: "spool_bytes", colour: "accent", fill: true }] },
  { title: "Memory", show: bytes, binary: true, least: 1024, series: [
    { name: "resident", figure: "resident_bytes", colour: "accent", fill: true },
    { name: "heap", figure: "heap_bytes", colour: "second" }] },
];

export function hour() {
  const figures = [...new Set(kinds.flatMap((k) => k.series.map((s) => s.figure)))];
  const past = { at: [], ...Object.fromEntries(figures.map((f) => [f, []])) };
  let range = length;
  const plots = kinds.map(plot);
  $("charts").append(...plots.map((p) => p.element));
  $("range").append(...ranges.map(([label, points]) => h("label", null,
    h("input", { type: "radio", name: "range", value: points, checked: points === range, change: () => {
      range = points;
      draw();
    } }), h("span", null, label))));

  function draw() {
    const cut = (column) => column.slice(-range);
    const shown = Object.fromEntries(figures.map((f) => [f, cut(past[f])]));
    plots.forEach((p) => p.show(cut(past.at), shown));
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((p) => p.repaint()));
  return {
    history(news) {
      for (const name of Object.keys(past)) past[name] = [...news[name]];
      draw();
    },
    point(news) {
      for (const name of Object.keys(past)) {
        past[name].push(news[name] ?? null);
        if (past[name].length > length) past[name].shift();
      }
      draw();
    },
  };
}
