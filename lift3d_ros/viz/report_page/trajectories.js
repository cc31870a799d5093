// The paths of the whole run seen from above, in a frame that stands still: x, where the vehicle first headed, is up.

const map = byId("trajectories");
const paths = report.trajectories;
const MAP_MARGIN_M = 5;
const STANDING_M = 1; // what never leaves this far stands still

// What the map must hold: the drive and what lies around it. A track that runs off far away is cut by its border.
const mapBounds = paths && (() => {
  const reach = report.range * 0.8;
  const ego = paths.ego.map(([, x, y]) => [x, y]);
  const isNear = ([x, y]) => ego.some(([egoX, egoY]) => Math.hypot(x - egoX, y - egoY) < reach);
  const all = [...paths.detections, ...paths.truth].flatMap(({ points }) => points.map(([, x, y]) => [x, y])).filter(isNear);
  const xs = [...ego, ...all].map(([x]) => x), ys = [...ego, ...all].map(([, y]) => y);
  return { top: Math.max(...xs), bottom: Math.min(...xs), left: Math.max(...ys), right: Math.min(...ys) };
})();

// The bounds with a margin, grown to the shape of the drawing.
function mapFrame() {
  const aspect = Math.max(map.clientWidth, 1) / Math.max(map.clientHeight, 1);
  const { top, bottom, left, right } = mapBounds;
  const halfHeight = Math.max((top - bottom) / 2 + MAP_MARGIN_M, ((left - right) / 2 + MAP_MARGIN_M) / aspect);
  const [x, y] = [(top + bottom) / 2, (left + right) / 2];
  return { top: x + halfHeight, bottom: x - halfHeight, left: y + halfHeight * aspect, right: y - halfHeight * aspect };
}

const pathThrough = (points) => points.map(([, x, y], index) => `${index ? "L" : "M"}${onPlan(x, y)}`).join("");

// Where something was at a time: between its two nearest points; null where it was not seen then.
function placeAt(points, time) {
  const after = points.findIndex(([elapsed]) => elapsed >= time - 1e-3);
  if (after < 0) return null;
  if (after === 0) return points[0][0] > time + 1e-3 ? null : points[0];
  const [before, next] = [points[after - 1], points[after]];
  const share = (time - before[0]) / (next[0] - before[0]);
  return before.map((value, index) => value + share * (next[index] - value));
}

function drawTrajectories() {
  if (!map) return;
  const { top, bottom, left, right } = mapFrame();
  map.setAttribute("viewBox", `${-left} ${-top} ${left - right} ${top - bottom}`);
  const unit = setUnit(map, left - right);
  map.replaceChildren();
  drawMapGrid({ top, bottom, left, right }, unit);
  const isShown = (path) => !state.hiddenClasses.has(path.class);
  if (state.truth) paths.truth.filter(isShown).forEach((path) => drawTrajectory(path, "truth", unit));
  const egoPath = svg("path", { class: "ego-path", d: pathThrough(paths.ego) }, map);
  svg("title", {}, egoPath).textContent = "vehicle";
  if (state.boxes)
    paths.detections.filter((path) => isShown(path) && path.score >= state.threshold).forEach((path) => drawTrajectory(path, "detection", unit));
  const pose = placeAt(paths.ego, currentFrame().elapsed);
  if (!pose) return;
  const [, x, y, yaw] = pose;
  const c = Math.cos(yaw) * unit, s = Math.sin(yaw) * unit;
  const at = (along, across) => onPlan(x + c * along - s * across, y + s * along + c * across);
  svg("path", { class: "ego", d: `M${at(15, 0)}L${at(-9, 8)}L${at(-4, 0)}L${at(-9, -8)}Z` }, map);
}

function drawMapGrid({ top, bottom, left, right }, unit) {
  const step = [5, 10, 20, 50, 100, 200, 500].find((metres) => (left - right) / metres <= 8) || 1000;
  let lines = "";
  for (let x = Math.ceil(bottom / step) * step; x < top; x += step) lines += `M${onPlan(x, left)}L${onPlan(x, right)}`;
  for (let y = Math.ceil(right / step) * step; y < left; y += step) lines += `M${onPlan(top, y)}L${onPlan(bottom, y)}`;
  svg("path", { class: "ring", d: lines }, map);
  const [x, y] = [-left + 12 * unit, -bottom - 12 * unit];
  svg("path", { class: "scale", d: `M${x} ${y - 5 * unit}v${5 * unit}h${step}v${-5 * unit}` }, map);
  svg("text", { class: "tick", x: x + step / 2, y: y - 5 * unit, "text-anchor": "middle" }, map).textContent = `${step} m`;
}

function drawTrajectory(path, kind, unit) {
  const { name, color } = report.classes[path.class];
  const group = svg("g", { class: `trajectory ${kind}` }, map);
  const { points } = path, [, startX, startY] = points[0];
  const reach = Math.max(...points.map(([, x, y]) => Math.hypot(x - startX, y - startY)));
  const seconds = points[points.length - 1][0] - points[0][0];
  const title = `${kind === "truth" ? "ground truth: " : ""}${name}${path.track >= 0 ? `, track ${path.track}` : ""}, ${seconds.toFixed(1)} s`;
  svg("title", {}, group).textContent = reach < STANDING_M ? `${title}, stands still` : title;
  const stroke = kind === "truth" ? report.truthColor : color;
  if (reach < STANDING_M) svg("circle", { cx: -startY, cy: -startX, r: (kind === "truth" ? 4.5 : 2.8) * unit, stroke }, group);
  else svg("path", { d: pathThrough(points), stroke }, group);
  const now = placeAt(points, currentFrame().elapsed);
  if (now && kind === "detection") svg("circle", { class: "now", cx: -now[2], cy: -now[1], r: 3.2 * unit, fill: stroke }, group);
}
