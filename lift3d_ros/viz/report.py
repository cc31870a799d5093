"""Writes runs as one self-contained HTML page: cameras, bird's-eye view, paths, latencies, metrics and run facts.

The page fetches nothing: pictures, styles and scripts are part of the file, and its content security policy
forbids everything else. One run fills the page; several runs share it as tabs, each with a link of its own.
What it draws comes from `report_content`; templates and scripts lie in ``report_page/``.
Not for running anything or for computing boxes' pixels (see `wireframe`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from lift3d_ros.viz.report_content import ReportData, ReportFrame
from lift3d_ros.viz.report_json import run_data, stage_names

_PAGE_FOLDER = files("lift3d_ros.viz") / "report_page"
# The files that draw one run share one scope, that of the function that opens the run, and are joined in this order.
_RUN_SCRIPTS = (
    "state.js",
    "cameras.js",
    "bird_eye_view.js",
    "trajectories.js",
    "curves.js",
    "latency.js",
    "controls.js",
)
_PAGE_SCRIPTS = ("tabs.js",)


def write_report(path: Path, report: ReportData) -> None:
    """Write the page of one run to `path`; its folder is created."""
    _write_page(path, report.title, {"": report})


def write_tabbed_report(path: Path, title: str, tabs: Mapping[str, ReportData]) -> None:
    """Write a page with one tab for each run to `path`; its folder is created.

    Args:
        tabs: name -> run, in order; the page opens with tab ``name`` where its address ends with ``#name``. Names are
            letters and digits.
    """
    _write_page(path, title, tabs)


def _write_page(path: Path, title: str, runs: Mapping[str, ReportData]) -> None:
    run_script = "\n".join(["function openRun(root) {", *map(page_file, _RUN_SCRIPTS), "}"])
    script = "\n".join(["(() => {", '"use strict";', run_script, *map(page_file, _PAGE_SCRIPTS), "})();"])
    style = page_file("page.css")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=jinja2.FunctionLoader(page_file)
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        runs=[
            {
                "name": name,
                "prefix": f"{name}-" if name else "",
                "report": report,
                "data": Markup(_script_safe_json(run_data(report))),
                "stages": _stage_summary(report.frames),
            }
            for name, report in runs.items()
        ],
        script=Markup(script),
        style=Markup(style),
        script_hash=source_hash(script),
        style_hash=source_hash(style),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def page_file(name: str) -> str:
    """Return a file of the page: template, style or script."""
    return _PAGE_FOLDER.joinpath(name).read_text(encoding="utf-8")


def source_hash(source: str) -> str:
    """Return the content-security-policy source of an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _script_safe_json(document: Any) -> str:
    """Return JSON that cannot end the script element it is written into."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _stage_summary(frames: Sequence[ReportFrame]) -> list[tuple[str, float, float]]:
    """Return ``(stage, median, 95th percentile)`` in ms over the frames that ran it; the last row is their sum."""
    timed = [frame.stages_ms for frame in frames if frame.stages_ms]
    columns = {stage: [ms[stage] for ms in timed if stage in ms] for stage in stage_names(frames)}
    if len(columns) > 1:
        columns["all stages"] = [sum(ms.values()) for ms in timed]
    return [(stage, float(np.median(ms)), float(np.percentile(ms, 95))) for stage, ms in columns.items()]
