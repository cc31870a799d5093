// Precision over recall, one curve for each class, at the matching distance that is chosen.

const curveChart = byId("curves");
const distances = [...new Set(report.curves.map(({ distance }) => distance))].sort((a, b) => a - b);
let chosenDistance = distances.includes(2) ? 2 : distances[0];
const CHART = { width: 520, height: 400, left: 46, right: 12, top: 12, bottom: 40 };

function buildDistances() {
  for (const distance of distances) {
    const button = html("button", "", byId("distances"), `${distance} m`);
    button.type = "button";
    button.dataset.distance = distance;
    button.addEventListener("click", () => {
      chosenDistance = distance;
      drawCurves();
    });
  }
}

function drawCurves() {
  if (!curveChart) return;
  const { width, height, left, right, top, bottom } = CHART;
  const xOf = (recall) => left + recall * (width - left - right), yOf = (precision) => height - bottom - precision * (height - top - bottom);
  curveChart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  setUnit(curveChart, width);
  curveChart.replaceChildren();
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg("path", { class: "ring", d: `M${xOf(share)} ${yOf(0)}V${yOf(1)}M${xOf(0)} ${yOf(share)}H${xOf(1)}` }, curveChart);
    svg("text", { class: "tick", x: xOf(share), y: yOf(0) + 15, "text-anchor": "middle" }, curveChart).textContent = share;
    svg("text", { class: "tick", x: left - 7, y: yOf(share) + 4, "text-anchor": "end" }, curveChart).textContent = share;
  }
  svg("text", { class: "tick", x: xOf(0.5), y: height - 6, "text-anchor": "middle" }, curveChart).textContent = "recall";
  svg("text", { class: "tick", x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${yOf(0.5)}) rotate(-90)` }, curveChart).textContent = "precision";
  const names = byId("curve-names");
  names.replaceChildren();
  for (const button of byId("distances").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(Number(button.dataset.distance) === chosenDistance));
  for (const curve of report.curves.filter(({ distance }) => distance === chosenDistance)) drawCurve(curve, xOf, yOf, names);
}

// Beyond the recall that is reached the precision is zero: the curve ends there.
function drawCurve(curve, xOf, yOf, names) {
  const { name, color } = report.classes[curve.class];
  const reached = curve.precision.findLastIndex((precision) => precision > 0);
  const points = curve.recall.slice(0, reached + 1).map((recall, index) => `${index ? "L" : "M"}${xOf(recall).toFixed(1)} ${yOf(curve.precision[index]).toFixed(1)}`);
  const line = svg("path", { class: "curve", d: points.join(""), stroke: color }, curveChart);
  svg("title", {}, line).textContent = name;
  const entry = html("span", points.length ? "" : "absent", names);
  const swatch = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, entry);
  svg("rect", { width: 12, height: 12, rx: 3, fill: color }, swatch);
  entry.append(points.length ? name : `${name} (none found)`);
}
