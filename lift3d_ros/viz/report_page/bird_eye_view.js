// The bird's-eye view: x of the base frame up, y to the left, metres; rings, ego, boxes with thick front edges, velocities, trails.

const plan = byId("plan");
const TRAIL_S = 3;

// Base frame to drawing: (x, y) -> (-y, -x), because SVG's second axis points down.
const onPlan = (x, y) => `${(-y).toFixed(2)} ${(-x).toFixed(2)}`;

function drawPlan() {
  const range = state.range;
  plan.setAttribute("viewBox", `${-range} ${-range} ${2 * range} ${2 * range}`);
  const unit = setUnit(plan, 2 * range);
  plan.replaceChildren();
  drawRings(range, unit);
  svg("path", { class: "ego", d: `M${onPlan(2.6, 0)}L${onPlan(-1.6, 1.3)}L${onPlan(-0.7, 0)}L${onPlan(-1.6, -1.3)}Z` }, plan);
  for (const entry of visibleBoxes()) {
    drawTrail(entry);
    drawFootprint(entry);
  }
}

// Where a tracked object has been during the last seconds, seen from where the vehicle is now.
function drawTrail({ kind, box }) {
  const track = kind === "detection" && box[TRACK] >= 0 && paths && paths.detections.find((path) => path.track === box[TRACK]);
  const now = currentFrame().elapsed, pose = track && placeAt(paths.ego, now);
  if (!pose) return;
  const [, egoX, egoY, yaw] = pose, c = Math.cos(yaw), s = Math.sin(yaw);
  const recent = track.points.filter(([elapsed]) => elapsed <= now + 1e-3 && elapsed > now - TRAIL_S);
  const points = recent.map(([, x, y]) => onPlan(c * (x - egoX) + s * (y - egoY), c * (y - egoY) - s * (x - egoX)));
  if (points.length > 1) svg("path", { class: "trail", d: `M${points.join("L")}`, stroke: classOf(box).color }, plan);
}

function drawRings(range, unit) {
  const step = [1, 2, 5, 10, 20, 50, 100].find((metres) => range / metres <= 6) || 200;
  svg("path", { class: "ring", d: `M0 ${-range}V${range}M${-range} 0H${range}` }, plan);
  for (let radius = step; radius < range * 1.4; radius += step) {
    svg("circle", { class: "ring", r: radius }, plan);
    if (radius > range) continue;
    svg("text", { class: "tick", x: 3 * unit, y: -radius + 11 * unit }, plan).textContent = `${radius} m`;
  }
}

function drawFootprint({ id, kind, box }) {
  const c = Math.cos(box[YAW]), s = Math.sin(box[YAW]);
  const at = (along, across) => onPlan(box[X] + c * along - s * across, box[Y] + s * along + c * across);
  const l = box[LENGTH] / 2, w = box[WIDTH] / 2, color = classOf(box).color;
  const group = svg("g", { class: `box ${kind}`, "data-box": id }, plan);
  const outline = `M${at(l, w)}L${at(l, -w)}L${at(-l, -w)}L${at(-l, w)}Z`;
  svg("path", { class: "footprint", d: outline, fill: color, stroke: color }, group);
  svg("path", { class: "heading", d: `M${at(l, w)}L${at(l, -w)}`, stroke: color }, group);
  const speed = box[VX] === null ? 0 : Math.hypot(box[VX], box[VY]);
  if (speed < 0.2) return;
  // One second of travel from the centre, with an arrow head of fixed size.
  const ux = box[VX] / speed, uy = box[VY] / speed, tipX = box[X] + box[VX], tipY = box[Y] + box[VY];
  const barb = (side) => onPlan(tipX - 0.9 * ux + side * 0.5 * uy, tipY - 0.9 * uy - side * 0.5 * ux);
  const arrow = `M${onPlan(box[X], box[Y])}L${onPlan(tipX, tipY)}M${barb(1)}L${onPlan(tipX, tipY)}L${barb(-1)}`;
  svg("path", { class: "velocity", d: arrow, stroke: color }, group);
}

// Each class is a button that hides and shows its boxes in every view.
function drawLegend() {
  const legend = byId("legend");
  const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.class : null;
  legend.replaceChildren();
  const boxes = boxesOfAllClasses();
  report.classes.forEach((item, index) => {
    const ofClass = boxes.filter(({ box }) => box[CLASS] === index);
    if (!ofClass.length) return;
    const button = html("button", "", html("li", "", legend));
    button.type = "button";
    button.dataset.class = item.name;
    button.setAttribute("aria-pressed", String(!state.hiddenClasses.has(index)));
    const swatch = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, button);
    svg("rect", { width: 12, height: 12, rx: 3, fill: item.color }, swatch);
    button.append(`${item.name} ${ofClass.filter(({ kind }) => kind === "detection").length}`);
    button.addEventListener("click", () => {
      if (!state.hiddenClasses.delete(index)) state.hiddenClasses.add(index);
      drawBoxes();
    });
    if (item.name === focused) button.focus();
  });
  const truthCount = boxes.filter(({ kind }) => kind === "truth").length;
  if (!truthCount) return;
  const entry = html("li", "", legend);
  const swatch = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, entry);
  svg("rect", { class: "ground", width: 12, height: 12, rx: 2 }, swatch);
  svg("rect", { class: "dashed", x: 2, y: 2, width: 8, height: 8 }, swatch);
  entry.append(`ground truth ${truthCount}`);
}
