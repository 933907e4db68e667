"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const FATES = ["used", "dropped", "failed", "unused"];
const KINDS = ["science", "sky", "flat", "dark", "bias", "other", "unknown"];
const CHUNK = 60;  // cards that are drawn together; two to six columns fill its last row
const WIDTH = 196, HEIGHT = 300;  // of a card, about, in CSS pixels
let review = data.review || null;
const drafts = new Map();  // reasons that were typed and not sent

const byId = id => document.getElementById(id);
const make = (tag, css, ...children) => {
  const node = document.createElement(tag);
  if (css) node.className = css;
  node.append(...children);
  return node;
};
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const percent = share => `${+(100 * share).toPrecision(2)} %`;

// --- what is said of a frame

const brief = frame => {
  const said = [];
  if (frame.mid) said.push(frame.mid.slice(11, 19));
  if (frame.exptime !== undefined) said.push(`${frame.exptime} s`);
  if (frame.fwhm !== undefined) said.push(`FWHM ${frame.fwhm} px`);
  if (frame.sky !== undefined) said.push(`sky ${frame.sky} e⁻`);
  if (frame.sky === undefined && frame.level !== undefined) said.push(level(frame));
  if (frame.full >= 1e-4 && frame.sky === undefined) said.push(`${percent(frame.full)} saturated`);
  return said.flatMap((text, at) => [at ? " · " : "", make("span", "", text)]);
};
const shortName = frame => {  // the folder apart, so that long names break there
  const at = frame.name.lastIndexOf("/") + 1;
  const node = make("div", "name", make("span", "", frame.name.slice(0, at)), make("wbr"), frame.name.slice(at));
  node.title = frame.name;
  return node;
};
const level = frame => `${frame.level} adu` +
  (frame.saturation ? ` (${percent(frame.level / frame.saturation)} of saturation)` : "");
const facts = frame => [
  ["kind", [frame.kind, frame.variant].filter(Boolean).join(", ")], ["filter", frame.filter],
  ["detector", frame.detector], ["target", frame.target], ["middle (UTC)", (frame.mid || "").replace("T", " ")],
  ["exposure time", frame.exptime !== undefined && `${frame.exptime} s`], ["airmass", frame.airmass],
  ["median of raw counts", frame.level !== undefined && level(frame)],
  ["saturated in the raw image", frame.full !== undefined && percent(frame.full)],
  ["FWHM", frame.fwhm !== undefined && `${frame.fwhm} pixel`], ["elongation", frame.elongation],
  ["sky", frame.sky !== undefined && `${frame.sky} e⁻ / pixel`],
  ["sky noise", frame.sky_rms !== undefined && `${frame.sky_rms} e⁻ / pixel`],
  ["sources", frame.sources], ["star flux against the reference", frame.star_flux],
  ["residual of alignment", frame.align_rms !== undefined && `${frame.align_rms} pixel`],
].filter(([, value]) => value !== undefined && value !== false && value !== "");

const verdict = frame => {
  const line = make("div", `why ${frame.fate}`, make("span", "fate", frame.fate));
  if (frame.reason) line.append(" ", frame.reason);
  if (frame.stage) line.append(" ", make("span", "stage-name", `(${frame.stage})`));
  line.title = [frame.fate, frame.stage && `in ${frame.stage}`, frame.reason].filter(Boolean).join(": ");
  return line;
};

const address = (frame, large) => {
  if (review) return `${large ? "frame" : "thumbnail"}/${encodeURIComponent(frame.name)}.png`;
  return frame.picture ? `${data.folder}/${frame.picture}` : "";
};

// --- decisions

const decisionOf = frame => review && review.decisions[frame.name];

const decideRow = frame => {
  const row = make("div", "decide");
  const reason = make("input");
  reason.placeholder = "reason";
  reason.setAttribute("aria-label", `Reason for ${frame.name}`);
  reason.setAttribute("list", "reasons");
  for (const decision of ["keep", "drop"]) {
    const button = make("button", "", decision);
    button.type = "button";
    button.dataset.decision = decision;
    button.addEventListener("click", () => {
      const now = decisionOf(frame);
      decide(frame, now && !now.pattern && now.decision === decision ? "none" : decision, reason.value);
    });
    row.append(button);
  }
  reason.addEventListener("input", () => drafts.set(frame.name, reason.value));
  reason.addEventListener("change", () => {
    const now = decisionOf(frame);
    if (now && !now.pattern && now.reason !== reason.value.trim()) decide(frame, now.decision, reason.value);
  });
  reason.addEventListener("keydown", event => {
    event.stopPropagation();
    if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); reason.blur(); show(frame.index); }
  });
  row.append(reason, make("div", "said"));
  tell(row, frame);
  return row;
};
const tell = (row, frame) => {
  const now = decisionOf(frame);
  for (const button of row.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Boolean(now && now.decision === button.dataset.decision)));
    button.title = button.ariaPressed === "true" && !now.pattern ? "Click again to take it back" : "";
  }
  const reason = row.querySelector("input");
  if (document.activeElement !== reason) reason.value = drafts.get(frame.name) ?? (now ? now.reason : "");
  row.querySelector(".said").textContent = !now ? "" :
    now.pattern ? `by the entry ${now.pattern}` : [now.author, now.time.replace("T", " ")].filter(Boolean).join(", ");
};

let sent = Promise.resolve();  // decisions are sent one after the other
const decide = (frame, decision, reason) => {
  const send = async () => {
    try {
      const answer = await fetch("decide", {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({frame: frame.name, decision, reason: reason.trim()})});
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      drafts.delete(frame.name);
      review = JSON.parse(text);
      complain("");
    } catch (error) {
      complain(`Nothing was written for ${frame.name}: ${error.message}` +
        (error instanceof TypeError ? ". Is albireo review still running?" : ""));
    }
    showDecisions();
  };
  sent = sent.then(send);
};
const complain = text => { byId("told").textContent = text; byId("told").hidden = !text; };

const showDecisions = () => {
  if (!review) return;
  const names = Object.keys(review.decisions);
  byId("decisions").hidden = false;
  byId("decided").textContent = names.length ? `${plural(names.length, "frame")} decided by hand` : "Nothing decided yet";
  byId("place").replaceChildren(names.length ? "Kept in " : "Decisions will be kept in ", make("code", "", review.file));
  byId("list").replaceChildren(...names.map(name => {
    const now = review.decisions[name], frame = all.get(name);
    const link = make("button", "link", name);
    link.type = "button";
    link.addEventListener("click", () => open(frame.index));
    const said = now.pattern ? [`by the entry ${now.pattern}`] : [now.author, now.time.replace("T", " ")];
    const row = make("div", "", make("strong", "", now.decision), link, make("span", "", now.reason),
      make("span", "who", said.filter(Boolean).join(", ")));
    if (!now.pattern) {
      const back = make("button", "", "take back");
      back.type = "button";
      back.addEventListener("click", () => decide(frame, "none", ""));
      row.append(back);
    }
    return row;
  }));
  byId("stage").hidden = !review.stage;
  byId("stage").querySelector("pre").textContent = review.stage;
  byId("command").textContent = review.command;
  byId("apply").hidden = !names.length && !review.stage;
  const reasons = new Set(Object.values(review.decisions).map(now => now.reason).filter(Boolean));
  byId("reasons").replaceChildren(...[...reasons].map(text => { const o = make("option"); o.value = text; return o; }));
  for (const card of document.querySelectorAll(".card")) tell(card.querySelector(".decide"), frames[card.dataset.index]);
  const row = byId("large-decide").firstChild;
  if (row && current >= 0) tell(row, frames[current]);
};

// --- cards, drawn where they are in sight

const card = frame => {
  const node = make("article", `card ${frame.fate}${frame.index === current ? " current" : ""}`);
  node.dataset.index = frame.index;
  node.dataset.name = frame.name;
  const picture = make("button", "picture");
  picture.type = "button";
  picture.setAttribute("aria-label", `Show ${frame.name} large`);
  const url = address(frame, false);
  if (url && !frame.missing) {
    const img = make("img");
    img.alt = "";
    img.decoding = "async";
    img.addEventListener("error", () => lost(picture, url));
    img.src = url;
    picture.append(img);
  } else picture.append(make("span", "gap", frame.missing || "no picture"));
  picture.addEventListener("click", () => open(frame.index));
  const text = make("div", "text", shortName(frame), make("div", "facts", ...brief(frame)), verdict(frame));
  if (review) text.append(decideRow(frame));
  node.append(picture, text);
  return node;
};
const lost = async (picture, url) => {
  let why = "no picture";
  if (review) try { why = await (await fetch(url)).text(); } catch { why = "albireo review has ended"; }
  picture.replaceChildren(make("span", "gap", why));
};

const frames = [...data.frames];
const rank = kind => (KINDS.indexOf(kind) + KINDS.length + 1) % (KINDS.length + 1);
const DARK = ["bias", "dark"];  // whatever the filter was
const part = frame => [frame.kind, DARK.includes(frame.kind) ? "" : frame.filter, frame.detector].filter(Boolean).join(" · ");
frames.sort((a, b) => rank(a.kind) - rank(b.kind) || part(a).localeCompare(part(b), undefined, {numeric: true}));
frames.forEach((frame, index) => { frame.index = index; });
const words = frames.map(f => [f.name, f.filter, f.detector, f.target, f.fate, f.stage, f.reason].join(" ").toLowerCase());
const all = new Map(frames.map(frame => [frame.name, frame]));
const counts = list => FATES.map(fate => [fate, list.filter(frame => frame.fate === fate).length]).filter(([, n]) => n);
const said = list => counts(list).map(([fate, n]) => `${n} ${fate}`).join(", ");

let current = -1, listed = [];
const columns = () => Math.max(2, Math.min(6, Math.floor(byId("main").clientWidth / WIDTH)));
const watcher = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    if (isIntersecting) fill(target);
    else if (target.firstChild && !target.contains(document.activeElement)) {
      target.style.minHeight = `${target.offsetHeight}px`;
      target.replaceChildren();
    }
  }
}, {rootMargin: "900px 0px"});
const fill = chunk => {
  if (chunk.firstChild) return;
  chunk.append(...chunk.frames.map(card));
  chunk.style.minHeight = "";
};

const lay = () => {
  const across = columns();
  watcher.disconnect();
  byId("main").style.setProperty("--columns", across);
  const sections = new Map();
  for (const index of listed) {
    const title = part(frames[index]);
    if (!sections.has(title)) sections.set(title, []);
    sections.get(title).push(frames[index]);
  }
  byId("main").replaceChildren(...[...sections].map(([title, list]) => {
    const section = make("section", "", make("h2", "", title || "no kind", make("small", "", said(list))));
    for (let at = 0; at < list.length; at += CHUNK) {
      const chunk = make("div", "chunk");
      chunk.frames = list.slice(at, at + CHUNK);
      chunk.style.minHeight = `${Math.ceil(chunk.frames.length / across) * (HEIGHT + (review ? 70 : 0))}px`;
      for (const frame of chunk.frames) frame.chunk = chunk;
      section.append(chunk);
      watcher.observe(chunk);
    }
    return section;
  }));
  if (!listed.length) byId("main").append(make("p", "none", frames.length ? "No frame fits." : "There is no frame here."));
};

// --- which frames are shown

const pressed = group => new Set([...byId(group).children].filter(b => b.ariaPressed === "true").map(b => b.dataset.value));
const update = () => {
  const fates = pressed("fates"), kinds = pressed("kinds"), wanted = byId("find").value.trim().toLowerCase();
  const decided = fates.has("decided");
  listed = frames.filter(frame => (!fates.size || fates.has(frame.fate) || (decided && decisionOf(frame)))
    && (!kinds.size || kinds.has(frame.kind)) && words[frame.index].includes(wanted)).map(frame => frame.index);
  byId("shown").textContent = `${listed.length} of ${frames.length} shown`;
  lay();
};
const buttons = (group, entries) => {
  byId(group).append(...entries.map(([value, count]) => {
    const button = make("button", "", count === null ? value : `${value} ${count}`);
    button.type = "button";
    button.dataset.value = value;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.ariaPressed !== "true"));
      update();
    });
    return button;
  }));
};

// --- one frame: selected, or large

const show = (index, focus = true) => {
  const before = document.querySelector(".card.current");
  if (before) before.classList.remove("current");
  current = index;
  const chunk = frames[index].chunk;
  if (!chunk || !chunk.isConnected) return;
  fill(chunk);
  const node = chunk.children[chunk.frames.indexOf(frames[index])];
  node.classList.add("current");
  node.scrollIntoView({block: "nearest"});
  if (focus && !byId("large").open) node.querySelector(".picture").focus({preventScroll: true});
};
const step = by => {
  const at = listed.indexOf(current), next = at < 0 ? 0 : at + by;
  if (next < 0 || next >= listed.length) return;
  show(listed[next]);
  if (byId("large").open) draw(frames[current]);
};
const open = index => {
  show(index, false);
  draw(frames[index]);
  if (!byId("large").open) byId("large").showModal();
};
const draw = frame => {
  byId("large-name").textContent = frame.name;
  const picture = byId("large-picture"), missing = byId("large-missing"), url = address(frame, true);
  picture.hidden = !url || Boolean(frame.missing);
  missing.hidden = !picture.hidden;
  missing.textContent = frame.missing || "no picture";
  picture.className = review ? "" : "doubled";
  picture.alt = `Raw image of ${frame.name}`;
  picture.onerror = async () => {
    let why = "no picture";
    if (review) try { why = await (await fetch(url)).text(); } catch { why = "albireo review has ended"; }
    if (byId("large-name").textContent !== frame.name) return;
    picture.hidden = true;
    missing.hidden = false;
    missing.textContent = why;
  };
  byId("large-histogram").hidden = true;
  picture.onload = () => review && showHistogram(frame);
  if (picture.hidden) picture.removeAttribute("src"); else picture.src = url;
  byId("large-verdict").replaceChildren(verdict(frame));
  byId("large-verdict").firstChild.classList.remove("why");
  byId("large-facts").replaceChildren(...facts(frame).map(([name, value]) =>
    make("div", "", make("dt", "", name), make("dd", "", String(value)))));
  byId("large-decide").replaceChildren(...(review ? [decideRow(frame)] : []));
};
const showHistogram = async frame => {
  const answer = await fetch(`histogram/${encodeURIComponent(frame.name)}.json`);
  const found = answer.ok && await answer.json();
  if (!found || byId("large-name").textContent !== frame.name) return;
  const top = Math.log10(Math.max(...found.counts) + 1);
  const steps = found.counts.map((count, at) => `V${(60 - 60 * Math.log10(count + 1) / top).toFixed(1)}H${at + 1}`);
  const box = byId("large-histogram");
  box.querySelector("svg").setAttribute("viewBox", `0 0 ${found.counts.length} 60`);
  box.querySelector("path").setAttribute("d", `M0 60${steps.join("")}V60Z`);
  box.querySelector("span").textContent = `${+found.low.toPrecision(6)} adu`;
  box.querySelector("span:last-child").textContent = `${+found.high.toPrecision(6)} adu`;
  box.hidden = false;
};
const reasonField = () => (byId("large").open ? byId("large-decide") : document.querySelector(".card.current"))
  ?.querySelector(".decide input");

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, summary")) return;
  const rows = byId("large").open ? 1 : columns();
  const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -rows, ArrowDown: rows};
  if (event.key in moves) step(moves[event.key]);
  else if (review && current >= 0 && "kdur".includes(event.key.toLowerCase()) && event.key.length === 1) {
    const field = reasonField(), key = event.key.toLowerCase();
    if (key === "r") field?.focus();
    else decide(frames[current], {k: "keep", d: "drop", u: "none"}[key], key === "u" ? "" : field?.value || "");
  } else return;
  event.preventDefault();
});
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => byId("large").close());
byId("large").addEventListener("close", () => { if (current >= 0) { show(current); showDecisions(); } });
byId("large").addEventListener("click", event => { if (event.target === byId("large")) byId("large").close(); });
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", async () => {
  const text = button.previousElementSibling;
  try { await navigator.clipboard.writeText(text.textContent); button.textContent = "Copied"; }
  catch { getSelection().selectAllChildren(text); }
});
byId("find").addEventListener("input", update);
let across = 0;
new ResizeObserver(() => { if (across !== columns()) { across = columns(); lay(); } }).observe(byId("main"));

byId("heading").textContent = review ? "Review" : data.which === "all" ? "Frames" : "Frames left out";
byId("summary").textContent = `${plural(frames.length, "frame")}${frames.length ? ": " : ""}${said(frames)}.`;
byId("links").hidden = Boolean(review);
const without = frames.filter(frame => frame.missing);
if (without.length) {
  byId("missing").textContent = `${plural(without.length, "frame")} without a picture, such as ${without[0].name}: ${without[0].missing}.`;
  byId("missing").hidden = false;
}
buttons("fates", [...counts(frames), ...(review ? [["decided", null]] : [])]);
buttons("kinds", KINDS.map(kind => [kind, frames.filter(frame => frame.kind === kind).length]).filter(([, n]) => n));
showDecisions();
across = columns();
update();
