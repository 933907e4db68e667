"use strict";
// Tables: a click on a heading sorts; numbers by value, everything else as text.
const key = cell => {
  const text = (cell.dataset.key || cell.textContent).trim().replace(/\u202f/g, "");
  const value = parseFloat(text.replace("\u2212", "-"));
  return /^[-\u2212]?[\d.]/.test(text) && !/^\d{4}-\d\d-/.test(text) && Number.isFinite(value) ? value : text;
};
const compare = (a, b) => typeof a === typeof b
  ? (typeof a === "number" ? a - b : a.localeCompare(b, undefined, {numeric: true}))
  : typeof a === "number" ? -1 : 1;
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map(row => [key(row.cells[column]), row]);
      rows.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
      body.append(...rows.map(pair => pair[1]));
      table.dispatchEvent(new Event("sorted"));
    });
  });
}

// The list of frames: by fate and by text, some rows at a time.
const list = document.getElementById("frame-table");
if (list) {
  const find = document.getElementById("find"), shown = document.getElementById("shown");
  const more = document.getElementById("more"), STEP = 100;
  const buttons = [...document.querySelectorAll("button[data-fate]")];
  const words = new Map([...list.tBodies[0].rows].map(row => [row, row.textContent.toLowerCase()]));
  let limit = STEP;
  const update = () => {
    const fates = new Set(buttons.filter(b => b.getAttribute("aria-pressed") === "true").map(b => b.dataset.fate));
    const wanted = find.value.trim().toLowerCase();
    let count = 0;
    for (const row of list.tBodies[0].rows) {
      const fits = fates.has(row.dataset.fate) && words.get(row).includes(wanted);
      row.hidden = !(fits && count++ < limit);
    }
    shown.textContent = `${Math.min(count, limit)} of ${count} shown`;
    more.parentNode.hidden = count <= limit;
  };
  const restart = () => { limit = STEP; update(); };
  find.addEventListener("input", restart);
  list.addEventListener("sorted", update);
  more.addEventListener("click", () => { limit += 5 * STEP; update(); });
  for (const button of buttons) button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    restart();
  });
  document.querySelector(".controls").hidden = false;
  update();
}

// Charts: the nearest point under the pointer says what it is.
const tip = document.getElementById("tip");
const SPAN = {{ span }};
const value = (range, part) => {
  const at = range[0] + (range[1] - range[0]) * part;
  return range[2] ? 10 ** at : at;
};
const write = (number, range) => {
  const digits = range[2] ? 3 : 1 + Math.ceil(Math.log10(Math.max(Math.abs(range[0]), Math.abs(range[1])) / (range[1] - range[0]) + 1)) + 2;
  return number.toPrecision(Math.min(Math.max(digits, 3), 9)).replace(/e\+?(-?\d+)/, " × 10^$1");
};
for (const panel of document.querySelectorAll(".panel[data-y]")) {
  const y = JSON.parse(panel.dataset.y);
  let points = null;
  const read = () => {
    const names = JSON.parse(panel.closest("figure").dataset.names || "[]");
    return [...panel.querySelectorAll("path[data-names]")].flatMap(path =>
      [...path.getAttribute("d").matchAll(/M(\d+) (\d+)/g)].map((m, k) =>
        [m[1] / SPAN, m[2] / SPAN, names[path.dataset.names][k]]));
  };
  panel.addEventListener("pointermove", event => {
    points ??= read();
    const box = panel.getBoundingClientRect();
    const px = event.clientX - box.left, py = event.clientY - box.top;
    let best = null, least = 400;
    for (const point of points) {
      const far = (point[0] * box.width - px) ** 2 + (point[1] * box.height - py) ** 2;
      if (far < least) { least = far; best = point; }
    }
    tip.hidden = !best;
    if (!best) return;
    tip.textContent = `${best[2]}\n${write(value(y, 1 - best[1]), y)}`;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
  });
  panel.addEventListener("pointerleave", () => { tip.hidden = true; });
}
