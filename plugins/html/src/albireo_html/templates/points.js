// A point of a light curve: what is known of it, and the cut-out of the star, loaded when it is first asked for.
const known = JSON.parse(document.getElementById("points").textContent);
const FLAGS = {{ flags | tojson }}, CUT = {{ cut | tojson }};
const pane = document.getElementById("point");
const picture = new Image();
picture.id = "cut-picture";
document.getElementById("cut").prepend(picture);
let showing = null;
const flagged = bits => FLAGS.filter(flag => bits & flag[0]).map(flag => flag[1]).join(", ") || "none";
const showRow = (key, row) => {
  const curve = known[key];
  showing = [key, row];
  pane.hidden = false;
  document.getElementById("point-name").textContent = `${curve.star}, ${curve.band}`;
  const facts = [["frame", curve.frames[row]], [curve.system, (curve.start + curve.time[row]).toFixed(6)],
    [curve.unit, curve.flux[row] === null ? "none" : `${curve.flux[row]} ± ${curve.err[row] ?? "unknown"}`], ["flags", flagged(curve.flags[row])]];
  const tile = curve.tiles ? curve.tiles[row] : -1;
  const frame = document.getElementById("cut");
  frame.hidden = tile < 0;
  document.getElementById("cut-none").hidden = tile >= 0;
  if (tile >= 0) {
    const sheet = Math.floor(tile / CUT.tiles), place = tile % CUT.tiles, source = `${curve.cutouts}-${sheet}.png`;
    if (picture.getAttribute("src") !== source) picture.src = source;
    picture.style.width = `${100 * CUT.columns}%`;
    picture.style.left = `${-100 * (place % CUT.columns)}%`;
    picture.style.top = `${-100 * Math.floor(place / CUT.columns)}%`;
    picture.alt = `Cut-out of ${curve.star} in ${curve.frames[row]}`;
    const [x, y] = curve.places[row], ring = document.getElementById("cut-ring");
    ring.setAttribute("visibility", curve.aperture && x !== null ? "visible" : "hidden");
    if (x !== null) {
      ring.setAttribute("cx", x + 0.5);
      ring.setAttribute("cy", CUT.side - y - 0.5);
      ring.setAttribute("r", curve.aperture || 0);
      facts.push(["x, y", `${(curve.corners[row][0] + x).toFixed(1)}, ${(curve.corners[row][1] + y).toFixed(1)}`]);
    }
  }
  const list = document.getElementById("point-facts");
  list.replaceChildren(...facts.map(([name, text]) => {
    const entry = document.createElement("div");
    entry.append(Object.assign(document.createElement("dt"), {textContent: name}), Object.assign(document.createElement("dd"), {textContent: text}));
    return entry;
  }));
};
const hidePoint = () => {
  pane.hidden = true;
  for (const mark of document.querySelectorAll(".cursor")) mark.remove();
};
document.getElementById("point-close").addEventListener("click", hidePoint);
for (const [id, step] of [["point-before", -1], ["point-after", 1]]) document.getElementById(id).addEventListener("click", () => {
  const [key, row] = showing;
  showRow(key, Math.min(Math.max(row + step, 0), known[key].frames.length - 1));
});
addEventListener("keydown", event => { if (event.key === "Escape") hidePoint(); });

// What is large is loaded when it is opened.
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", () => {
  for (const picture of details.querySelectorAll("img[data-src]")) {
    picture.src = picture.dataset.src;
    delete picture.dataset.src;
  }
});
