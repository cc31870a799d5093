// What the page shows (frame, toggles, threshold, hidden classes, highlighted box) and the helpers that all views draw with.

// Names of elements are those of the template; on a page of several runs each run has its own prefix.
const byId = (id) => document.getElementById(root.dataset.prefix + id);
const report = JSON.parse(byId("data").textContent);
const state = {
  frame: 0,
  range: report.range,
  threshold: Number(byId("threshold").value),
  boxes: true,
  labels: true,
  truth: true,
  hiddenClasses: new Set(),
  hovered: null,
  pinned: null,
};

// Positions in a box record, as written by report.py.
const X = 0, Y = 1, LENGTH = 3, WIDTH = 4, HEIGHT = 5, YAW = 6, VX = 7, VY = 8, SCORE = 9, CLASS = 10, TRACK = 11;

const currentFrame = () => report.frames[state.frame];
const classOf = (box) => report.classes[box[CLASS]];

// Ground truth first, so that detections lie on top. Each entry: id, kind, box.
function boxesOfAllClasses() {
  const frame = currentFrame();
  const entries = (boxes, kind) => boxes.map((box, index) => ({ id: `${kind}-${index}`, kind, box }));
  return [
    ...entries(state.truth && frame.truth ? frame.truth : [], "truth"),
    ...entries(state.boxes ? frame.detections : [], "detection").filter(({ box }) => box[SCORE] >= state.threshold),
  ];
}

const visibleBoxes = () => boxesOfAllClasses().filter(({ box }) => !state.hiddenClasses.has(box[CLASS]));

function svg(tag, attributes, parent) {
  const element = document.createElementNS(byId("plan").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.appendChild(element);
  return element;
}

function html(tag, className, parent, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.appendChild(element);
  return element;
}

// SVG units per screen pixel, so that letters keep their size whatever the size of the view.
function setUnit(view, widthInUnits) {
  const unit = widthInUnits / Math.max(view.clientWidth, 1);
  view.style.setProperty("--unit", unit);
  return unit;
}

function describeBox({ kind, box }) {
  const distance = Math.hypot(box[X], box[Y]);
  const parts = [`${distance.toFixed(1)} m away`, `${box.slice(LENGTH, YAW).map((s) => s.toFixed(1)).join(" × ")} m`];
  if (box[VX] !== null) parts.push(`${Math.hypot(box[VX], box[VY]).toFixed(1)} m/s`);
  if (box[TRACK] >= 0) parts.push(`track ${box[TRACK]}`);
  const kindText = kind === "truth" ? "ground truth" : `score ${box[SCORE].toFixed(2)}`;
  return { name: classOf(box).name, text: `${kindText} · ${parts.join(" · ")}` };
}
