// The camera pictures, laid out as the rig stands, with wireframes drawn over them.

const tiles = [];

function buildCameras() {
  const root = byId("cameras");
  root.style.setProperty("--columns", Math.max(...report.rows.map((row) => row.length)));
  for (const row of report.rows) {
    const rowElement = html("div", "row", root);
    row.forEach((camera, position) => {
      const isMiddle = row.length % 2 === 1 && position === (row.length - 1) / 2;
      tiles[camera] = buildTile(rowElement, camera, isMiddle);
    });
  }
}

function buildTile(rowElement, camera, isMiddle) {
  const name = report.cameras[camera];
  const tile = html("figure", isMiddle ? "tile middle" : "tile", rowElement);
  tile.dataset.camera = name;
  const picture = html("div", "picture", tile);
  const sample = report.frames.map((frame) => frame.cameras[camera]).find((data) => data);
  if (sample) picture.style.setProperty("--aspect", sample.size.join(" / "));
  const image = html("img", "", picture);
  image.alt = `Picture of camera ${name}`;
  image.decoding = "sync"; // boxes and picture change together
  const overlay = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, picture);
  const caption = html("figcaption", "", tile);
  html("b", "", caption, name).title = name;
  const age = html("span", "age", caption);
  const enlarge = html("button", "", caption, "⤢");
  enlarge.type = "button";
  enlarge.setAttribute("aria-label", `Enlarge ${name}`);
  enlarge.setAttribute("aria-pressed", "false");
  enlarge.addEventListener("click", () => {
    enlarge.setAttribute("aria-pressed", String(tile.classList.toggle("enlarged")));
    drawCameras();
  });
  return { tile, image, overlay, age };
}

function drawCameras() {
  const visible = new Map(visibleBoxes().map((entry) => [entry.id, entry]));
  tiles.forEach((view, camera) => drawCamera(view, currentFrame().cameras[camera], visible));
}

function drawCamera({ tile, image, overlay, age }, data, visible) {
  tile.classList.toggle("missing", !data);
  overlay.replaceChildren();
  if (!data) {
    image.removeAttribute("src");
    age.textContent = "missing";
    return;
  }
  const source = `data:image/jpeg;base64,${data.jpeg}`;
  if (image.src !== source) image.src = source;
  age.textContent = data.age === null ? "" : `${(data.age * 1000).toFixed(0)} ms old`;
  overlay.setAttribute("viewBox", `-0.5 -0.5 ${data.size[0]} ${data.size[1]}`);
  const unit = setUnit(overlay, data.size[0]);
  const drawn = [];
  for (const [kind, wireframes] of [["truth", data.truth], ["detection", data.detections]]) {
    for (const [index, lines, front, anchor] of wireframes) {
      const entry = visible.get(`${kind}-${index}`);
      if (!entry) continue;
      drawWireframe(overlay, entry, lines, front);
      drawn.push({ entry, anchor });
    }
  }
  if (state.labels) drawLabels(overlay, drawn, unit, data.size);
}

function pathOf(points) {
  let path = "";
  for (let i = 0; i < points.length; i += 2) path += `${i ? "L" : "M"}${points[i]} ${points[i + 1]}`;
  return path;
}

function drawWireframe(overlay, { id, kind, box }, lines, front) {
  const color = classOf(box).color;
  const group = svg("g", { class: `box ${kind}`, "data-box": id }, overlay);
  const path = lines.map(pathOf).join("");
  svg("path", { class: "halo", d: path }, group);
  if (front.length) svg("path", { class: "front", d: `${pathOf(front)}Z`, fill: color, stroke: color }, group);
  svg("path", { class: "line", d: path, stroke: color }, group);
}

// Labels of near boxes first; a label that would cover one already written is left out.
function drawLabels(overlay, drawn, unit, [width, height]) {
  const taken = [];
  const labelled = drawn.map(({ entry, anchor }) => ({ entry, ...labelPlace(entry, anchor, unit) }));
  const rank = ({ entry }) => Math.hypot(entry.box[X], entry.box[Y]) + (entry.kind === "truth" ? 1000 : 0);
  for (const { entry, text, x, y, w, h } of labelled.sort((a, b) => rank(a) - rank(b))) {
    const left = Math.min(Math.max(x, 0), width - w), top = Math.min(Math.max(y - h, 0), height - h);
    const isFree = taken.every((t) => left > t.left + t.w || left + w < t.left || top > t.top + h || top + h < t.top);
    if (!isFree) continue;
    taken.push({ left, top, w });
    const group = svg("g", { class: "label" }, overlay);
    svg("rect", { class: "plate", x: left, y: top, width: w, height: h }, group);
    const fill = entry.kind === "truth" ? report.truthColor : classOf(entry.box).color;
    svg("rect", { x: left, y: top, width: 2.5 * unit, height: h, fill }, group);
    svg("text", { x: left + 6 * unit, y: top + h - 3.5 * unit }, group).textContent = text;
  }
}

function labelPlace({ kind, box }, [x, y], unit) {
  const name = classOf(box).name;
  const text = kind === "truth" ? name : `${name} ${box[SCORE].toFixed(2)}`;
  const w = (text.length * 6.1 + 10) * unit, h = 14 * unit;
  return { text, x: x - w / 2, y: y - 2 * unit, w, h };
}
