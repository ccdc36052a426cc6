"use strict";
// Polls /api/state once a second and redraws. Everything shown is set as text, never as markup.
const STATES = ["stocked", "low", "empty", "blocked", "unknown"];
const at = (id) => document.getElementById(id);
let chosen = null, shown = null, failures = 0, reference = null;

function make(name, text, data) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (data) Object.assign(node.dataset, data);
  return node;
}
const percent = (p) => p == null ? "" : Math.round(100 * p) + " %";
const clock = (s) => new Date(1000 * s).toLocaleTimeString([], {hour12: false});
function moment(s, time) {
  const day = new Date(1000 * s);
  return day.toDateString() === new Date().toDateString() ? time : day.toLocaleDateString([], {day: "numeric", month: "short"}) + " " + time;
}

function picture(url) {
  return new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = url;
  });
}
async function refresh(img, url) {
  const loaded = await picture(url);
  img.hidden = !loaded;
  if (loaded) img.src = loaded.src;
}

function tabs(cameras) {
  at("cameras").hidden = cameras.length < 2;
  at("cameras").replaceChildren(...cameras.map((camera) => {
    const button = make("button", camera.id);
    button.setAttribute("aria-pressed", camera.id === chosen);
    button.onclick = () => { chosen = camera.id; shown = reference = null; poll(); };
    return button;
  }));
}
function tally(slots) {
  at("tally").replaceChildren(...STATES.map((state) => {
    const card = make("div", undefined, {state});
    card.append(make("b", slots.filter((s) => s.state === state).length), make("span", state));
    return card;
  }));
}
function rows(list, pairs) {
  list.replaceChildren(...pairs.filter(([, v]) => v !== null && v !== "").flatMap(([k, v]) => [make("dt", k), make("dd", v)]));
}
function stages(ms) {
  const total = ms.total || Math.max(1, ...Object.values(ms));
  at("stages").replaceChildren(...Object.entries(ms).flatMap(([name, value]) => {
    const bar = make("i"), cell = make("dd");
    bar.hidden = name === "total";
    bar.style.width = 55 * Math.min(1, value / total) + "%";
    cell.append(bar, make("span", value.toFixed(1)));
    return [make("dt", name), cell];
  }));
}
function events(list) {
  at("events").replaceChildren(...(list.length ? list.map((e) => {
    const row = make("li"), what = make("span");
    what.append(e.slot ? e.slot + " " : e.kind + " ", e.was ? e.was + " → " : "", Object.assign(make("span", e.now, {state: e.now}), {className: "state"}),
      e.confidence ? " " + percent(e.confidence) : "");
    row.append(make("time", moment(e.at, clock(e.at))), what);
    return row;
  }) : [make("li", "none yet")]));
}

function cards(slots) {
  const list = at("slots");
  if (list.children.length !== slots.length || [...list.children].some((c, k) => c.dataset.slot !== slots[k].id))
    list.replaceChildren(...slots.map((slot) => {
      const card = make("li", undefined, {slot: slot.id}), id = make("div"), more = make("div");
      const canvas = make("canvas");
      canvas.width = 264; canvas.height = 128;
      id.className = "id"; more.className = "more";
      id.append(make("span", slot.id), Object.assign(make("span"), {className: "state"}));
      card.append(canvas, id, more, Object.assign(make("div"), {className: "more"}));
      return card;
    }));
  slots.forEach((slot, k) => {
    const card = list.children[k];
    card.dataset.state = slot.state;
    card.querySelector(".state").textContent = slot.state;
    const [how, what] = card.querySelectorAll(".more");
    how.textContent = [slot.state === "unknown" ? "" : percent(slot.confidence), slot.reason.replace("_", " "), slot.since ? "since " + moment(slot.since, clock(slot.since).slice(0, 5)) : ""].filter(Boolean).join(" · ");
    what.textContent = slot.sku;
    card.title = slot.sku;
  });
}
function crops(camera, then, now) {
  const columns = camera.crop_columns, count = camera.slots.length, lines = Math.ceil(count / columns);
  camera.slots.forEach((slot, k) => {
    const canvas = at("slots").children[k].querySelector("canvas"), pen = canvas.getContext("2d");
    pen.clearRect(0, 0, 264, 128);
    [[then, 0], [now, 136]].forEach(([sheet, left]) => {
      if (!sheet) return;
      const w = sheet.naturalWidth / columns, h = sheet.naturalHeight / lines;
      pen.drawImage(sheet, (k % columns) * w, Math.floor(k / columns) * h, w, h, left, 0, 128, 128);
    });
  });
}

async function draw(state) {
  if (!state.cameras.some((c) => c.id === chosen)) chosen = state.cameras.length ? state.cameras[0].id : null;
  tabs(state.cameras);
  at("device").textContent = state.device;
  document.title = state.device + " · edge-runtime";
  const camera = state.cameras.find((c) => c.id === chosen);
  if (!camera) return;
  const fresh = camera.registration !== undefined;
  at("link").textContent = camera.age_s !== null ? `${camera.id} · frame ${camera.frames} · ${camera.age_s.toFixed(1)} s ago` : `${camera.id} · waiting for the first frame`;
  at("link").className = camera.age_s !== null && camera.stale ? "late" : "";
  tally(camera.slots);
  cards(camera.slots);
  events(camera.events);
  if (!fresh) return;
  at("trouble").hidden = camera.usable;
  at("trouble").textContent = `Nothing is read from this camera now: ${camera.reason.replaceAll("_", " ")}. ${camera.detail}`;
  const r = camera.registration, l = camera.light;
  rows(at("figures"), [
    ["registration", r.status + (r.moved ? ", the camera has moved" : "")],
    ["inliers", r.inliers || null],
    ["residual", r.residual_px === null ? null : r.residual_px.toFixed(2) + " px"],
    ["remarks", r.remarks.join(", ").replaceAll("_", " ")],
    ["packs shifted", r.packs_px ? r.packs_px.toFixed(1) + " px, made up for" : null],
    ["light", (l.applied ? "corrected" : "as it is") + ` (${l.decision})`],
    ["gain B G R", l.gain.map((g) => g.toFixed(2)).join("  ")],
    ["light residual", `${l.residual_before.toFixed(3)} → ${l.residual_after.toFixed(3)}`],
    ["sharpness", camera.sharpness === null ? null : camera.sharpness.toFixed(2)],
    ["noise", camera.noise === null ? null : camera.noise.toFixed(1) + " grey levels"],
    ["model", camera.model ? `${camera.model.name} ${camera.model.version} (${camera.model.sha256.slice(0, 12)})` : "none: safe mode"],
    ["usable frames", `${camera.usable_frames} of ${camera.frames}`],
  ]);
  stages(camera.ms);
  if (shown === camera.id + camera.sequence) return;
  shown = camera.id + camera.sequence;
  const base = "/camera/" + encodeURIComponent(camera.id) + "/", mark = "?" + camera.sequence;
  reference = reference || await picture(base + "reference.jpg" + mark);
  const [now] = await Promise.all([picture(base + "crops.jpg" + mark), refresh(at("frame"), base + "frame.jpg" + mark), refresh(at("view"), base + "view.jpg" + mark)]);
  crops(camera, reference, now);
}

async function poll() {
  try {
    const answer = await fetch("/api/state", {cache: "no-store"});
    await draw(await answer.json());
    failures = 0;
  } catch (fault) {
    if (++failures > 2) { at("link").textContent = "the device does not answer"; at("link").className = "late"; }
  }
}
async function loop() {
  await poll();
  setTimeout(loop, document.hidden ? 5000 : 1000);
}
loop();
