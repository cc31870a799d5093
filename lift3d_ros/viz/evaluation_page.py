"""Writes an evaluation as one self-contained HTML page: tables, charts and the frames worth looking at.

Like the page of a run it fetches nothing, and it needs no script.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from lift3d_ros.viz.report import page_file, source_hash
from lift3d_ros.viz.report_content import ReportTable


@dataclass(frozen=True)
class PageChart:
    """A chart; `note` says how to read it."""

    title: str
    svg: bytes
    note: str = ""

    @property
    def source(self) -> str:
        """Return the picture for the page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class PagePicture:
    """A frame of the data, and why it is shown."""

    title: str
    jpeg: bytes
    caption: str = ""

    @property
    def source(self) -> str:
        """Return the picture for the page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class PictureGroup:
    """Frames that are shown for the same reason."""

    title: str
    note: str
    pictures: tuple[PagePicture, ...]


@dataclass(frozen=True)
class EvaluationPage:
    """Everything on the page.

    Args:
        banner: warning on top, for example ``untrained weights: boxes mean nothing``.
        headline: figures in large letters, (name, value).
        facts: name -> value of the run.
    """

    title: str
    subtitle: str
    headline: tuple[tuple[str, str], ...]
    tables: tuple[ReportTable, ...]
    banner: str = ""
    charts: tuple[PageChart, ...] = ()
    groups: tuple[PictureGroup, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def write_evaluation_page(path: Path, page: EvaluationPage) -> None:
    """Write the page to `path`; its folder is created."""
    style = page_file("page.css") + page_file("evaluation.css")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = environment.from_string(page_file("evaluation.html.j2")).render(
        page=page, style=Markup(style), style_hash=source_hash(style)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
