// One plot of the last hour, drawn by uPlot, which sits in its own script.
import { h, say } from "./dom.js";
import { clock } from "./format.js";

const height = 150;
const sync = "hour";

// powers are the steps of an axis in bytes.
const powers = Array.from({ length: 44 }, (_, i) => 2 ** i);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// plot makes a figure. series are { name, figure, colour }; show turns a value into
// words.
export function plot({ title, series, show, most, least = 1, binary }) {
  const values = series.map(() => h("span", { class: "value" }));
  const legend = h("ul", { class: "legend" }, series.map((s, i) => h("li", { class: "key-" + s.colour }, h("span", null, s.name), values[i])));
  const box = h("div", { class: "plot", role: "img" });
  const when = h("span", { class: "when" });
  const element = h("figure", { class: "panel chart" }, h("figcaption", null, h("h3", null, title), when), legend, box);
  let drawn = null;
  let data = [[], ...series.map(() => [])];

  function read(at) {
    const i = at ?? data[0].length - 1;
    series.forEach((_, n) => say(values[n], show(data[n + 1][i])));
    say(when, at === null || at === undefined ? "" : clock(data[0][at] * 1000));
  }

  function options(width) {
    const grid = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("muted"), font: "11px system-ui, sans-serif", grid, ticks: { show: false } };
    return {
      width,
      height,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: sync }, y: false, drag: { setScale: false, x: false, y: false } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, most ?? Math.max(high * 1.1, least)] } },
      axes: [
        { ...axis, size: 26, space: 60, values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 0], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 0]] },
        { ...axis, size: 62, space: 36, ...(binary ? { incrs: powers } : {}), values: (_, all) => all.map((v) => show(v)) },
      ],
      series: [{}, ...series.map((s) => ({ stroke: colour(s.colour), width: 1.5, points: { show: false }, ...(s.fill ? { fill: colour(s.colour) + "22" } : {}) }))],
      hooks: { setCursor: [(u) => read(u.cursor.idx)] },
    };
  }

  function draw() {
    const width = box.clientWidth;
    if (width === 0 || data[0].length === 0) return;
    if (drawn && drawn.width !== width) drawn.setSize({ width, height });
    if (drawn) drawn.setData(data);
    else drawn = new uPlot(options(width), data, box);
    if (drawn.cursor.idx === null || drawn.cursor.idx === undefined) read();
    box.setAttribute("aria-label", `${title}: ` + series.map((s, n) =>
      `${s.name} ${show(data[n + 1].at(-1))}, at most ${show(Math.max(...data[n + 1].map((v) => v ?? 0)))}`).join("; "));
  }

  new ResizeObserver(draw).observe(box);
  return {
    element,
    show(at, columns) {
      data = [at, ...series.map((s) => columns[s.figure])];
      draw();
    },
    // repaint takes the colours anew.
    repaint() {
      drawn?.destroy();
      drawn = null;
      draw();
    },
  };
}
