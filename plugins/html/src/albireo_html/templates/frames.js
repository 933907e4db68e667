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
