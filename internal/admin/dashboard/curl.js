// A conversation as the command that asks the same again.

// quoted is a word for a shell, whatever is in it.
const quoted = (text) => "'" + String(text).replaceAll("'", "'\\''") + "'";

const streams = (c) => c.streamed || c.params?.stream === true;

// request is the body that asked: the log keeps messages and parameters apart, and
// a system prompt among the messages.
export function request(c) {
  const body = { model: c.model, ...c.params };
  if (streams(c)) body.stream = true;
  else if (c.dialect === "ollama") body.stream = false;
  const messages = c.messages ?? c.prompt;
  const path = c.endpoint;
  if (path.endsWith("/messages") && Array.isArray(messages)) {
    const system = messages.filter((m) => m.role === "system");
    if (system.length > 0) body.system = system.length === 1 ? system[0].content : system.map((m) => ({ type: "text", text: String(m.content) }));
    body.messages = messages.filter((m) => m.role !== "system");
    body.max_tokens ??= 1024;
  } else if (path.endsWith("/responses") || /\/embed(dings)?$/.test(path)) {
    body[path.endsWith("/api/embeddings") ? "prompt" : "input"] = messages;
  } else if (path.endsWith("/generate") || (path.endsWith("/completions") && !path.endsWith("/chat/completions"))) {
    body.prompt = c.prompt;
  } else {
    body.messages = messages;
  }
  return body;
}

export function curl(c, listen) {
  const at = "http://" + (listen || "127.0.0.1:8080").replace(/^(0\.0\.0\.0|\[::\])?:/, "127.0.0.1:");
  const lines = [`curl ${streams(c) ? "-N " : ""}${quoted(at + c.endpoint)}`, "-H 'Content-Type: application/json'"];
  if (c.dialect === "anthropic") lines.push("-H 'anthropic-version: 2023-06-01'");
  lines.push("-d " + quoted(JSON.stringify(request(c))));
  return lines.join(" \\\n  ");
}
