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
