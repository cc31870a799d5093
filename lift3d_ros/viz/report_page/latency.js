// The latency plot: milliseconds per frame, stages stacked, the current frame marked; a click goes to a frame.

const plot = byId("latency");
const totals = report.frames.map((frame) => frame.stages.reduce((sum, ms) => sum + ms, 0));
const MARGIN = { left: 46, right: 8, top: 12, bottom: 30 };

function plotGeometry() {
  const width = plot.clientWidth, height = plot.clientHeight;
  const step = (width - MARGIN.left - MARGIN.right) / report.frames.length;
  return { width, height, step, bar: Math.max(Math.min(step * 0.8, 46), step > 3 ? 1 : step), base: height - MARGIN.bottom };
}

// A warm-up frame many times slower than the rest would flatten the plot: such bars are cut and marked.
function plotTop() {
  const sorted = [...totals].sort((a, b) => a - b);
  const usual = sorted[Math.floor(0.9 * (sorted.length - 1))];
  const largest = sorted[sorted.length - 1];
  const top = (largest > 3 * usual && usual > 0 ? 1.3 * usual : largest) || 1;
  return Math.ceil(top / tickStep(top)) * tickStep(top);
}

function tickStep(top) {
  const power = 10 ** Math.floor(Math.log10(top / 4));
  return power * [1, 2, 5, 10].find((factor) => top / (power * factor) <= 5);
}

function drawLatency() {
  if (!plot) return;
  const { width, height, step, bar, base } = plotGeometry();
  const top = plotTop();
  const yOf = (ms) => base - (Math.min(ms, top) / top) * (base - MARGIN.top);
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  plot.replaceChildren();
  const gap = tickStep(top);
  for (let ms = 0; ms < top + gap / 2; ms += gap) {
    svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: yOf(ms), y2: yOf(ms) }, plot);
    svg("text", { x: MARGIN.left - 6, y: yOf(ms) + 4, "text-anchor": "end" }, plot).textContent = Number(ms.toPrecision(6));
  }
  svg("text", { x: 2, y: 10 }, plot).textContent = "ms";
  svg("text", { x: width - MARGIN.right, y: height - 2, "text-anchor": "end" }, plot).textContent = "frame";
  const below = report.frames.map(() => 0);
  report.stages.forEach((_, stage) => {
    let path = "";
    report.frames.forEach((frame, index) => {
      const lower = yOf(below[index]);
      below[index] += frame.stages[stage];
      const x = MARGIN.left + step * (index + 0.5) - bar / 2;
      path += `M${x.toFixed(1)} ${lower.toFixed(1)}h${bar.toFixed(1)}V${yOf(below[index]).toFixed(1)}h${(-bar).toFixed(1)}z`;
    });
    svg("path", { class: `stage-${stage % 8}`, d: path }, plot);
  });
  totals.forEach((total, index) => {
    if (total <= top) return;
    const attributes = { class: "clipped", x: MARGIN.left + step * (index + 0.5), y: MARGIN.top - 2 };
    svg("text", { ...attributes, "text-anchor": index ? "middle" : "start" }, plot).textContent = `▲ ${total.toFixed(0)}`;
  });
  const every = Math.ceil((26 / step) || 1);
  report.frames.forEach((_, index) => {
    if (index % every) return;
    const attributes = { x: MARGIN.left + step * (index + 0.5), y: base + 14, "text-anchor": "middle" };
    svg("text", attributes, plot).textContent = index + 1;
  });
  svg("rect", { class: "marker", id: `${root.dataset.prefix}latency-marker`, y: MARGIN.top - 4, height: base - MARGIN.top + 6, rx: 3 }, plot);
  moveLatencyMarker();
}

function moveLatencyMarker() {
  if (!plot) return;
  const { step, bar } = plotGeometry();
  const marker = byId("latency-marker");
  marker.setAttribute("x", MARGIN.left + step * (state.frame + 0.5) - bar / 2 - 2);
  marker.setAttribute("width", bar + 4);
}

function frameAt(clientX) {
  const across = clientX - plot.getBoundingClientRect().left - MARGIN.left;
  return Math.floor(across / plotGeometry().step);
}
