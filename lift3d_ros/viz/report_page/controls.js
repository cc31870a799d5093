// Wires slider, buttons, keys and pointer to the state, and redraws what each change touches.

const isHighlighted = (id) => id === (state.hovered || state.pinned);

function drawBoxes() {
  drawCameras();
  drawPlan();
  drawLegend();
  drawTrajectories();
  applyHighlight();
}

function goTo(index) {
  state.frame = Math.min(Math.max(index, 0), report.frames.length - 1);
  state.hovered = state.pinned = null;
  const frame = currentFrame(), slider = byId("frame"), position = byId("position");
  slider.value = state.frame;
  slider.setAttribute("aria-valuetext", `frame ${state.frame + 1} of ${report.frames.length}`);
  position.replaceChildren();
  html("b", "", position, `${state.frame + 1} / ${report.frames.length}`);
  position.append(`  +${frame.elapsed.toFixed(2)} s  ·  ${frame.stamp.slice(0, -6)}`);
  root.dataset.frame = state.frame;
  const notes = byId("notes");
  notes.replaceChildren();
  frame.notes.forEach((note) => html("li", "", notes, note));
  drawBoxes();
  moveLatencyMarker();
}

function applyHighlight() {
  for (const element of root.querySelectorAll("[data-box]"))
    element.classList.toggle("hot", isHighlighted(element.dataset.box));
  const details = byId("details");
  details.replaceChildren();
  const entry = visibleBoxes().find(({ id }) => isHighlighted(id));
  if (!entry) {
    details.textContent = "Point at a box to find it in every view; click to keep it.";
    return;
  }
  const { name, text } = describeBox(entry);
  html("b", "", details, name);
  details.append(` ${text}`);
}

// Changes classes only: rebuilding the element under the pointer would lose the click.
function highlight(change) {
  const before = state.hovered || state.pinned;
  Object.assign(state, change);
  if ((state.hovered || state.pinned) !== before) applyHighlight();
}

let timer = null;

function setPlaying(isPlaying) {
  clearInterval(timer);
  timer = null;
  byId("play").setAttribute("aria-pressed", String(isPlaying));
  byId("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  if (!isPlaying) return;
  const count = report.frames.length;
  const mean = count > 1 ? report.frames[count - 1].elapsed / (count - 1) : 1;
  timer = setInterval(() => goTo((state.frame + 1) % count), 1000 * Math.min(Math.max(mean, 0.1), 1));
}

function wireToggle(id, name) {
  byId(id).addEventListener("change", (event) => {
    state[name] = event.target.checked;
    drawBoxes();
  });
}

function setThreshold(value) {
  state.threshold = value;
  byId("threshold-value").textContent = value.toFixed(2);
}

const KEYS = {
  ArrowLeft: () => goTo(state.frame - 1),
  ArrowRight: () => goTo(state.frame + 1),
  Home: () => goTo(0),
  End: () => goTo(report.frames.length - 1),
  " ": () => setPlaying(timer === null),
  b: () => byId("show-boxes").click(),
  l: () => byId("show-labels").click(),
  g: () => byId("show-truth").click(),
  Escape: () => highlight({ hovered: null, pinned: null }),
};

function onKey(event) {
  if (root.hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const focused = event.target;
  if (focused.matches("[role=tab]") && event.key !== " ") return; // it moves between tabs
  // A focused control keeps the keys it understands itself.
  const isOwnKey = event.key === " " ? focused.matches("button, [type=checkbox]") : focused === byId("threshold");
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || isOwnKey) return;
  event.preventDefault();
  action();
}

root.style.setProperty("--truth", report.truthColor);
buildCameras();
setThreshold(state.threshold);
if (!report.frames.some((frame) => frame.truth)) byId("show-truth").closest("label").hidden = true;
wireToggle("show-boxes", "boxes");
wireToggle("show-labels", "labels");
wireToggle("show-truth", "truth");
byId("threshold").addEventListener("input", (event) => {
  setThreshold(Number(event.target.value));
  drawBoxes();
});
byId("frame").addEventListener("input", (event) => goTo(Number(event.target.value)));
byId("previous").addEventListener("click", () => goTo(state.frame - 1));
byId("next").addEventListener("click", () => goTo(state.frame + 1));
byId("play").addEventListener("click", () => setPlaying(timer === null));
for (const [id, factor] of [["zoom-in", 1 / 1.5], ["zoom-out", 1.5]]) {
  byId(id).addEventListener("click", () => {
    state.range = Math.min(Math.max(state.range * factor, 5), 500);
    drawBoxes();
  });
}
document.addEventListener("keydown", onKey);
root.addEventListener("pointerover", (event) => {
  const box = event.target.closest("[data-box]");
  highlight({ hovered: box ? box.dataset.box : null });
});
root.addEventListener("click", (event) => {
  if (event.target.closest("button, input, label")) return;
  const box = event.target.closest("[data-box]");
  highlight({ pinned: box ? box.dataset.box : null });
});
if (plot) plot.addEventListener("click", (event) => goTo(frameAt(event.clientX)));
function redraw() {
  drawBoxes();
  drawCurves();
  drawLatency();
}

window.addEventListener("resize", () => {
  if (!root.hidden) redraw();
});
buildDistances();
drawCurves();
drawLatency();
goTo(0);
return { redraw, pause: () => setPlaying(false) };
