// Shows one run at a time: that of the address (#name), of the tab that was chosen, or the first; all of them on paper.

const runs = [...document.querySelectorAll(".run")];
const tabs = [...document.querySelectorAll("[role=tab]")];
const opened = new Map();

// A run is drawn when it is first looked at: hidden elements have no size.
function openOnce(root) {
  const hasFrames = document.getElementById(`${root.dataset.prefix}data`);
  if (hasFrames && !opened.has(root)) opened.set(root, openRun(root));
  else if (hasFrames) opened.get(root).redraw();
}

function showAddressed() {
  const name = decodeURIComponent(location.hash.slice(1));
  const chosen = Math.max(runs.findIndex((root) => root.dataset.name === name), 0);
  runs.forEach((root, index) => {
    root.hidden = index !== chosen;
    if (root.hidden && opened.has(root)) opened.get(root).pause();
  });
  tabs.forEach((tab, index) => {
    tab.setAttribute("aria-selected", String(index === chosen));
    tab.tabIndex = index === chosen ? 0 : -1;
  });
  openOnce(runs[chosen]);
}

function choose(index) {
  if (!tabs[index]) return;
  location.hash = tabs[index].hash;
  tabs[index].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !tabs.length) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const focused = tabs.indexOf(event.target);
  if (step && focused >= 0) choose((focused + step + tabs.length) % tabs.length);
  else if (event.key >= "1" && event.key <= "9") choose(Number(event.key) - 1);
});
window.addEventListener("hashchange", showAddressed);
window.addEventListener("beforeprint", () => {
  for (const root of runs) {
    root.hidden = false;
    openOnce(root);
  }
});
window.addEventListener("afterprint", showAddressed);
showAddressed();
