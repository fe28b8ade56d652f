// The dashboard: the key, then everything that the key opens.
import { get, key, onRefusedKey } from "./api.js";
import { $, badge, say } from "./dom.js";
import { events } from "./events.js";
import { seconds } from "./format.js";
import { breakers, health, overall } from "./health.js";
import { now } from "./now.js";
import { streams } from "./streams.js";
import { conversations } from "./conversations.js";
import { dismissable, proxyAt } from "./detail.js";
import { hour } from "./hour.js";
import { process } from "./process.js";
import { controls } from "./controls.js";

function ask(message = "") {
  $("board").hidden = true;
  $("sign-in").hidden = false;
  say($("key-error"), message);
  $("key").value = "";
  $("key").focus();
}

// enter tries the key on the API's description, which says what there is to show.
async function enter() {
  const description = await get("/admin/openapi.json", { keyed: false });
  $("sign-in").hidden = true;
  $("board").hidden = false;
  start((path) => path in description.paths);
}

function start(has) {
  const parts = [];
  const part = (id, path, make) => {
    if (has(path)) parts.push(make());
    else $(id).hidden = true;
  };
  parts.push({ health: health(), now: uptime }, now());
  part("breakers", "/admin/performance/circuit-breakers/all", breakers);
  part("streams", "/admin/performance/streams", () => ({ streams: streams() }));
  part("conversations", "/admin/conversations", () => ({ log: conversations() }));
  parts.push(hour());
  part("process", "/admin/performance/event-loop/status", () => ({ now: process() }));
  parts.push(controls(has));
  dismissable();
  if (has("/admin/config")) get("/admin/config").then((answer) => proxyAt(answer.config.listen), () => {});

  const on = {};
  for (const one of parts) {
    for (const [name, f] of Object.entries(one)) {
      const before = on[name];
      on[name] = before ? (value) => (before(value), f(value)) : f;
    }
  }
  events(on, tell);
}

function uptime(point) {
  if (point?.started_at) say($("uptime"), "up " + seconds(Date.now() / 1000 - point.started_at));
}

const links = {
  live: ["ok", "live"],
  paused: ["idle", "paused"],
  waiting: ["warn", "too many dashboards are open"],
  lost: ["bad", "not reachable, trying again"],
};

function tell(state, problem) {
  const [tone, text] = links[state];
  badge($("link"), tone, text);
  $("link").title = problem ?? "";
  document.body.classList.toggle("stale", state === "lost");
  if (state === "lost") overall("unknown");
}

function leave(message) {
  key.forget();
  if (message) sessionStorage.setItem("vega-said", message);
  location.reload(); // what was shown is gone with the page
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  try {
    await enter();
    $("main").focus();
  } catch (error) {
    key.forget();
    ask(error.status ? `The key was not taken: ${error.message}` : `The proxy cannot be reached: ${error.message}`);
  }
});
$("sign-out").addEventListener("click", () => leave());

onRefusedKey(() => leave("The key is no longer taken. Give the new one."));

const said = sessionStorage.getItem("vega-said") ?? "";
sessionStorage.removeItem("vega-said");
if (key.get()) {
  enter().catch((error) => {
    if (error.status === 401) key.forget();
    ask(error.message);
  });
} else {
  ask(said);
}
