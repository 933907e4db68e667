// Charts: the nearest point under the pointer says what it is; charts of one axis of time are zoomed into together.
const tip = document.getElementById("tip");
const SPAN = {{ span }}, BREADTH = {{ breadth }}, REACH = 20;
const value = (range, part) => {
  const at = range[0] + (range[1] - range[0]) * part;
  return range[2] ? 10 ** at : at;
};
const write = (number, range) => {
  const digits = range[2] ? 3 : 1 + Math.ceil(Math.log10(Math.max(Math.abs(range[0]), Math.abs(range[1])) / (range[1] - range[0]) + 1)) + 2;
  return number.toPrecision(Math.min(Math.max(digits, 3), 9)).replace(/e\+?(-?\d+)/, " × 10^$1");
};
const views = new Map();  // of each group of charts: the ends of what is shown, in parts of the whole axis
const view = figure => views.get(figure.dataset.group) || [0, 1];

const ticks = (low, high) => {
  const rough = (high - low) / 6, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find(m => m * unit >= rough * 0.75);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++)
    found.push([k * step, (k * step).toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "\u2212")]);
  return found;
};

const redraw = figure => {
  const [from, to] = view(figure), whole = JSON.parse(figure.dataset.x);
  const at = JSON.parse(figure.dataset.x).slice(0, 2), width = at[1] - at[0];
  const marks = ticks(at[0] + from * width, at[0] + to * width).map(([x, text]) => [(x - at[0]) / width, text]);
  figure.classList.toggle("zoomed", to - from < 1);
  for (const svg of figure.querySelectorAll(".panel svg")) {
    svg.setAttribute("viewBox", `${from * BREADTH} 0 ${(to - from) * BREADTH} ${SPAN}`);
    svg.querySelector(".across").setAttribute("d", marks.map(m => `M${(m[0] * BREADTH).toFixed(1)} 0v${SPAN}`).join(""));
  }
  for (const old of figure.querySelectorAll(".xtick, .cursor")) old.remove();
  const last = [...figure.querySelectorAll(".panel")].pop();
  marks.forEach(([part, text], k) => {
    const span = document.createElement("span");
    span.className = k % 2 && marks.length > 5 ? "xtick odd" : "xtick";
    span.style.left = `${(100 * (part - from) / (to - from)).toFixed(2)}%`;
    span.textContent = text;
    last.append(span);
  });
};
const zoom = (group, from, to) => {
  const width = Math.min(1, Math.max(to - from, 0.002));
  const start = Math.min(Math.max(from, 0), 1 - width);
  views.set(group, [start, start + width]);
  tip.hidden = true;
  for (const figure of document.querySelectorAll(`figure[data-group="${group}"]`)) redraw(figure);
};
const STEPS = {
  in: (a, b) => [a + (b - a) / 4, b - (b - a) / 4], out: (a, b) => [a - (b - a) / 2, b + (b - a) / 2],
  left: (a, b) => [a - (b - a) / 4, b - (b - a) / 4], right: (a, b) => [a + (b - a) / 4, b + (b - a) / 4], all: () => [0, 1],
};
for (const bar of document.querySelectorAll(".zoom")) {
  const figure = bar.closest("figure");
  bar.hidden = false;
  for (const button of bar.querySelectorAll("button")) button.addEventListener("click", () =>
    zoom(figure.dataset.group, ...STEPS[button.dataset.zoom](...view(figure))));
}

for (const panel of document.querySelectorAll(".panel[data-y]")) {
  const y = JSON.parse(panel.dataset.y), figure = panel.closest("figure"), group = figure.dataset.group;
  let points = null, drag = null, chosen = -1;
  const read = () => {
    const names = JSON.parse(figure.dataset.names || "[]");
    return [...panel.querySelectorAll("path[data-names]")].flatMap(path =>
      [...path.getAttribute("d").matchAll(/M(\d+) (\d+)/g)].map((m, k) =>
        [m[1] / BREADTH, m[2] / SPAN, names[path.dataset.names][k], "bare" in path.dataset, path.dataset.curve])).sort((a, b) => a[0] - b[0]);
  };
  const opens = "opens" in panel.dataset;
  const named = point => point[4] ? known[point[4]].frames[point[2]] : point[2];
  const open = point => showRow(point[4], Number(point[2]));
  const part = event => {
    const box = panel.getBoundingClientRect(), [from, to] = view(figure);
    return from + (to - from) * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  };
  const place = point => {
    const [from, to] = view(figure);
    return [(point[0] - from) / (to - from), point[1]];
  };
  const nearest = event => {
    points ??= read();
    const box = panel.getBoundingClientRect();
    let best = -1, least = REACH ** 2;
    points.forEach((point, k) => {
      const [px, py] = place(point);
      const far = (px * box.width + box.left - event.clientX) ** 2 + (py * box.height + box.top - event.clientY) ** 2;
      if (far < least) { least = far; best = k; }
    });
    return best;
  };
  const choose = k => {
    chosen = k;
    const point = points[k], [from, to] = view(figure);
    if (point[0] < from || point[0] > to) zoom(group, point[0] - (to - from) / 2, point[0] + (to - from) / 2);
    for (const old of document.querySelectorAll(".cursor")) old.remove();
    const mark = document.createElement("i"), [px, py] = place(point);
    mark.className = "cursor";
    mark.style.left = `${100 * px}%`;
    mark.style.top = `${100 * py}%`;
    panel.append(mark);
  };
  panel.addEventListener("pointermove", event => {
    if (drag && Math.abs(event.clientX - drag.x) > 6) {
      drag.box ??= panel.appendChild(Object.assign(document.createElement("i"), {className: "selected"}));
      const [from, to] = view(figure), ends = [drag.part, part(event)].sort((a, b) => a - b);
      drag.box.style.left = `${100 * (ends[0] - from) / (to - from)}%`;
      drag.box.style.width = `${100 * (ends[1] - ends[0]) / (to - from)}%`;
      tip.hidden = true;
      return;
    }
    const best = nearest(event);
    tip.hidden = best < 0;
    if (best < 0) return;
    const point = points[best];
    tip.textContent = point[3] ? named(point) : `${named(point)}\n${write(value(y, 1 - point[1]), y)}`;
    tip.style.left = `${Math.max(Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8), 4)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
  });
  panel.addEventListener("pointerleave", () => { tip.hidden = true; });
  if (group) {
    panel.addEventListener("pointerdown", event => {
      if (event.button) return;
      drag = {x: event.clientX, part: part(event), box: null};
      panel.setPointerCapture(event.pointerId);
    });
    panel.addEventListener("pointerup", event => {
      const done = drag;
      drag = null;
      if (!done) return;
      if (done.box) {
        done.box.remove();
        zoom(group, ...[done.part, part(event)].sort((a, b) => a - b));
      } else if (opens) {
        const best = nearest(event);
        if (best >= 0) { choose(best); tip.hidden = true; open(points[best]); }
      }
    });
    panel.addEventListener("pointercancel", () => { drag?.box?.remove(); drag = null; });
    panel.addEventListener("dblclick", () => zoom(group, 0, 1));
  }
  if (opens) {
    panel.addEventListener("keydown", event => {
      points ??= read();
      const steps = {ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20};
      if (!points.length) return;
      if (event.key in steps) choose(Math.min(Math.max(chosen + steps[event.key], 0), points.length - 1));
      else if (event.key === "Home") choose(0);
      else if (event.key === "End") choose(points.length - 1);
      else if (event.key !== "Enter" || chosen < 0) return;
      event.preventDefault();
      if (event.key === "Enter" || !document.getElementById("point").hidden) open(points[chosen]);
    });
  }
}
