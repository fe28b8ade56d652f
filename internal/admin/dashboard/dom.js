// Building the page. Whatever text comes from outside becomes a text node or an
// attribute's value here: nothing is ever read as markup.

// h makes an element. Attributes whose value is a function are listeners; what is
// null, undefined or false is left out.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

// say sets an element's text, and touches the page only if that is new.
export function say(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

// tone is how good a thing is: ok, warn, bad or idle. The shape before the text
// says it too, for who does not see colours.
const shapes = { ok: "●", warn: "▲", bad: "■", idle: "○" };

export function badge(element, tone, text) {
  const name = "badge " + tone;
  if (element.className !== name) element.className = name;
  say(element, shapes[tone] + " " + text);
  return element;
}

export const newBadge = (tone, text) => badge(h("span"), tone, text);

// table makes a table that becomes a list of cards where there is little room,
// which is why its roles are spelt out. columns are { title, class }.
export function table(caption, columns) {
  const body = h("tbody", { role: "rowgroup" });
  const element = h(
    "table",
    { role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((c) =>
      h("th", { scope: "col", role: "columnheader", class: c.class }, c.hidden ? h("span", { class: "unseen" }, c.title) : c.title)))),
    body,
  );
  const row = () => {
    const cells = columns.map((c) => h("td", { role: "cell", class: c.class, "data-label": c.hidden ? null : c.title }));
    return { element: h("tr", { role: "row" }, cells), cells };
  };
  return { element, body, row };
}

// list keeps rows in step with items: each item has one element for as long as it
// is there, so that neither focus nor a click gets lost. make(item) returns an
// object with an element and an update.
export function list(parent, key, make) {
  const shown = new Map();
  return {
    shown,
    update(items) {
      const gone = new Set(shown.keys());
      let before = parent.firstChild;
      for (const item of items) {
        const id = key(item);
        gone.delete(id);
        let row = shown.get(id);
        if (!row) {
          row = make(item);
          shown.set(id, row);
        }
        row.update(item);
        if (row.element === before) before = before.nextSibling;
        else parent.insertBefore(row.element, before);
      }
      for (const id of gone) {
        shown.get(id).element.remove();
        shown.delete(id);
      }
    },
  };
}

// fact is a term with its value, of a dl.
export function fact(term, value = "") {
  const data = h("dd", null, value);
  return { element: h("div", null, h("dt", null, term), data), data };
}

let quiet;

// toast says what came of an action.
export function toast(text, failed = false) {
  const box = $("toast");
  box.className = failed ? "toast shown bad" : "toast shown";
  say(box, text);
  clearTimeout(quiet);
  quiet = setTimeout(() => (box.className = "toast"), failed ? 12000 : 5000);
}

// act is a button that does one thing at a time and says what came of it.
export function act(label, run, attributes) {
  const button = h("button", { type: "button", ...attributes, click }, label);
  async function click() {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true"); // not disabled: it would lose the focus
    try {
      toast(await run());
    } catch (error) {
      toast(error.message, true);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }
  return button;
}
