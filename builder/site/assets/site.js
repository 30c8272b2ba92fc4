// Filters, deep links, keys and copying. Pages say everything without it; nothing is loaded, and nothing is sent.
"use strict";

const form = document.querySelector("[data-filter]");
const KEYS = ["q", "minor", "arch", "variant"];
const wanted = new Set();
let rows = null;

// Rows are looked through once, when somebody filters for the first time.
function readRows() {
  rows ??= Array.from(document.querySelectorAll("[data-section]"), (section) => ({
    section,
    rows: Array.from(section.querySelectorAll("tbody tr"), (row) => ({
      row,
      text: `${row.textContent} ${row.dataset.r ?? ""}`.toLowerCase(),
      arch: row.dataset.a,
      variant: row.dataset.v,
      minors: (row.dataset.m ?? "").split(" "),
      states: (row.dataset.s ?? "").split(" "),
    })),
  }));
  return rows;
}

function value(name) {
  return form.elements[name]?.value.trim() ?? "";
}

function fits(item, words) {
  return (
    words.every((word) => item.text.includes(word)) &&
    (!value("arch") || item.arch === value("arch")) &&
    (!value("variant") || item.variant === value("variant")) &&
    (!value("minor") || item.minors.includes(value("minor"))) &&
    (!wanted.size || item.states.some((state) => wanted.has(state)))
  );
}

function filter() {
  const words = value("q").toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, all = 0;
  for (const part of readRows()) {
    let here = 0;
    for (const item of part.rows) {
      const is = fits(item, words);
      if (item.row.hidden === is) item.row.hidden = !is;
      here += is;
    }
    part.section.hidden = here === 0;
    shown += here;
    all += part.rows.length;
  }
  document.querySelector("[data-shown]").value = shown === all ? "" : `${shown} of ${all} shown`;
  document.querySelector("[data-nothing]").hidden = shown > 0;
}

// What is filtered stands in the address, so that it can be sent to others.
function remember() {
  const said = new URLSearchParams();
  for (const key of KEYS) if (value(key)) said.set(key, value(key));
  for (const state of wanted) said.append("state", state);
  const query = said.toString();
  try {
    history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
  } catch {
    // A browser that lets no file change its address filters all the same.
  }
}

function recall() {
  const said = new URLSearchParams(location.search);
  for (const key of KEYS) if (said.has(key) && form.elements[key]) form.elements[key].value = said.get(key);
  for (const state of said.getAll("state")) press(state, true);
  if (said.size) filter();
}

function press(state, is) {
  const button = document.querySelector(`[data-state="${CSS.escape(state)}"]`);
  if (!button) return;
  button.setAttribute("aria-pressed", String(is));
  if (is) wanted.add(state);
  else wanted.delete(state);
}

function clear() {
  form.reset();
  for (const state of [...wanted]) press(state, false);
}

// A link to something that the filter hides shows it.
function goTo() {
  let id;
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    return;
  }
  const place = id ? document.getElementById(id) : null;
  for (const old of document.querySelectorAll(".here")) old.classList.remove("here");
  if (!place) return;
  if (form && place.closest("tr[hidden], [data-section][hidden]")) {
    clear();
    filter();
    remember();
  }
  place.classList.add("here");
  // What is taller than the window begins at its top.
  place.scrollIntoView({ block: place.offsetHeight > innerHeight * 0.7 ? "start" : "center" });
  if (place.matches("a[href]")) place.focus({ preventScroll: true });
}

function walk(event) {
  const cell = document.activeElement?.closest?.("table.matrix td");
  if (!cell) return false;
  const row = cell.parentElement;
  const lines = Array.from(document.querySelectorAll("table.matrix tbody tr:not([hidden])")).filter((line) => !line.closest("[hidden]"));
  const column = cell.cellIndex;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const next = lines[lines.indexOf(row) + steps[0]]?.cells[column + steps[1]]?.querySelector("a.chip");
  if (next) {
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
  return true;
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && form && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    form.elements.q.focus();
  } else if (event.key === "Escape" && form && isTyping) {
    clear();
    filter();
    remember();
    event.target.blur();
  } else if (event.key.startsWith("Arrow") && !isTyping && walk(event)) {
    event.preventDefault();
  }
});

if (form) {
  form.hidden = false;
  document.querySelector("[data-hint]")?.removeAttribute("hidden");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => {
    for (const state of [...wanted]) press(state, false);
    filter();
    remember();
  }));
  for (const button of document.querySelectorAll("[data-legend] [data-state]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      press(button.dataset.state, button.getAttribute("aria-pressed") !== "true");
      filter();
      remember();
    });
  }
  recall();
}
addEventListener("hashchange", goTo);
if (location.hash) goTo();

// A list that is closed is not printed.
addEventListener("beforeprint", () => {
  for (const item of document.querySelectorAll("details")) item.open = true;
});

function copy(text, button) {
  const tell = (word) => {
    button.textContent = word;
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };
  const write = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
  write.then(() => tell("copied"), () => {
    const range = document.createRange();
    range.selectNodeContents(button.previousSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    tell("selected");
  });
}

for (const place of document.querySelectorAll(".command, .copy")) {
  const text = place.textContent.trim();
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy-it";
  button.textContent = "copy";
  button.setAttribute("aria-label", `copy ${text}`);
  button.addEventListener("click", () => copy(text, button));
  place.append(button);
}
