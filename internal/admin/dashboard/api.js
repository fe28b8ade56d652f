// Asking the admin API. The key lives in this tab's session storage, and leaves it
// only in a header to the server that the page came from.
const store = "vega-key";

export const key = {
  get: () => sessionStorage.getItem(store) ?? "",
  set: (value) => sessionStorage.setItem(store, value),
  forget: () => sessionStorage.removeItem(store),
};

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let refusedKey = () => {};

// onRefusedKey is told when the server no longer takes the key.
export function onRefusedKey(f) {
  refusedKey = f;
}

export async function ask(path, options = {}) {
  const headers = { "X-API-Key": key.get(), ...options.headers };
  const response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" });
  if (response.ok) return response;
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // no JSON: the status says enough
  }
  if (response.status === 401 && options.keyed !== false) refusedKey();
  throw new Refused(response.status, error.code ?? "", [error.message ?? "the server answered " + response.status, ...(error.problems ?? [])].join("; "));
}

export const get = async (path, options) => (await ask(path, options)).json();
export const post = async (path) => (await ask(path, { method: "POST" })).json();
export const put = async (path, value) =>
  (await ask(path, { method: "PUT", body: JSON.stringify(value), headers: { "Content-Type": "application/json" } })).json();
