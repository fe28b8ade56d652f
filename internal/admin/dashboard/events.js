// The server's events, read by fetch: EventSource cannot send the key. While the
// page is hidden nothing is asked for.
import { ask } from "./api.js";

// silence is longer than the server ever keeps quiet.
const silence = 40_000;
const slowest = 15_000;

// events calls on[NAME](VALUE) for each event until the returned func is called,
// and tell(STATE, MESSAGE) with "live", "paused", "waiting" or "lost".
export function events(on, tell) {
  let current = null;
  let retry = 0;
  let pause = 1000;
  let stopped = false;

  async function connect() {
    clearTimeout(retry);
    if (stopped || current || document.hidden) return;
    const abort = new AbortController();
    current = abort;
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), silence);
    };
    let problem = "the connection ended";
    let full = false;
    try {
      alive();
      const response = await ask("/admin/live", { signal: abort.signal });
      tell("live");
      pause = 1000;
      await parse(response.body, alive, (name, data) => {
        try {
          on[name]?.(JSON.parse(data));
        } catch (error) {
          console.error(error); // a mistake in the page is no reason to ask again
        }
      });
    } catch (error) {
      problem = error.message;
      full = error.code === "too_many_viewers";
      if (error.status === 401) stopped = true;
    } finally {
      clearTimeout(watchdog);
      current = null;
    }
    if (stopped) return;
    if (document.hidden) {
      tell("paused");
      return;
    }
    tell(full ? "waiting" : "lost", problem);
    retry = setTimeout(connect, pause);
    pause = Math.min(pause * 2, slowest);
  }

  function seen() {
    if (document.hidden) current?.abort();
    else connect();
  }

  document.addEventListener("visibilitychange", seen);
  if (document.hidden) tell("paused");
  connect();
  return () => {
    stopped = true;
    clearTimeout(retry);
    document.removeEventListener("visibilitychange", seen);
    current?.abort();
  };
}

// parse reads a stream of events to its end.
async function parse(body, alive, event) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "";
      let data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data = line.slice(6);
      }
      if (name) event(name, data);
    }
  }
}
