// Values in words that people read. What is unknown is a dash.
const none = "–";
const known = (v) => typeof v === "number" && Number.isFinite(v);

const digits = (v) => (v >= 100 ? 0 : v >= 10 ? 1 : 2);
const trim = (v, places = digits(Math.abs(v))) => String(Number(v.toFixed(places)));

export function number(v) {
  if (!known(v)) return none;
  const a = Math.abs(v);
  if (a >= 1e9) return trim(v / 1e9) + " G";
  if (a >= 1e6) return trim(v / 1e6) + " M";
  if (a >= 1e4) return trim(v / 1e3) + " k";
  return trim(v);
}

export const whole = (v) => (known(v) ? Math.round(v).toLocaleString("en") : none);

export function bytes(v) {
  if (!known(v)) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (Math.abs(v) >= 1024 && i < units.length - 1) {
    v /= 1024;
    i++;
  }
  return trim(v, i === 0 ? 0 : digits(Math.abs(v))) + " " + units[i];
}

export function seconds(v) {
  if (!known(v)) return none;
  if (v < 1e-3) return v === 0 ? "0 ms" : trim(v * 1e6, 0) + " µs";
  if (v < 1) return trim(v * 1e3) + " ms";
  if (v < 60) return trim(v) + " s";
  if (v < 3600) return Math.floor(v / 60) + " min " + Math.floor(v % 60) + " s";
  if (v < 86400) return Math.floor(v / 3600) + " h " + Math.floor((v % 3600) / 60) + " min";
  return Math.floor(v / 86400) + " d " + Math.floor((v % 86400) / 3600) + " h";
}

export const millis = (v) => seconds(known(v) ? v / 1e3 : v);

export const percent = (v) => (known(v) ? trim(v * 100, v > 0.99 && v < 1 ? 2 : 1) + " %" : none);

export function clock(time) {
  const d = new Date(time);
  return Number.isNaN(d.getTime()) ? none : d.toLocaleTimeString("en-GB");
}

// moment is the clock, with the day where that is another one.
export function moment(time) {
  const d = new Date(time);
  const today = d.toDateString() === new Date().toDateString();
  return today ? clock(time) : d.toLocaleDateString("en-CA") + " " + clock(time);
}

export function times(n, one, many = one + "s") {
  return whole(n) + " " + (n === 1 ? one : many);
}

// words makes a name of the API readable: half_open is "half open".
export const words = (name) => String(name ?? "").replaceAll("_", " ");
