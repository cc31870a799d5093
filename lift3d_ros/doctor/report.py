"""What the checks found: lines with a level and a remedy, as text to paste into an issue and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lift3d_ros
from lift3d_ros.errors import ConfigError

Level = Literal["OK", "WARN", "FAIL"]
_LEVELS: tuple[Level, ...] = ("OK", "WARN", "FAIL")


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and for WARN and FAIL what to do."""

    name: str
    level: Level
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.level == "OK") == bool(self.remedy):
            raise ValueError(f"check '{self.name}': a remedy belongs to WARN and FAIL, and only to them")


def ok(name: str, text: str) -> Check:
    """Return a line that needs no action."""
    return Check(name, "OK", text)


def warn(name: str, text: str, remedy: str) -> Check:
    """Return a line about something that may do harm."""
    return Check(name, "WARN", text, remedy)


def fail(name: str, text: str, remedy: str) -> Check:
    """Return a line about something that does not work."""
    return Check(name, "FAIL", text, remedy)


@dataclass(frozen=True)
class Section:
    """Lines that belong together."""

    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Report:
    """All sections of one run; `table` is printed above them."""

    subject: str
    sections: tuple[Section, ...]
    table: tuple[tuple[str, ...], ...] = ()

    @property
    def exit_status(self) -> int:
        """0 where everything is OK or only a warning, 1 where something failed."""
        return 1 if any(check.level == "FAIL" for check in self._checks()) else 0

    def text(self) -> str:
        """Return the report for a terminal or an issue."""
        lines = [f"lift3d doctor {lift3d_ros.__version__}: {self.subject}"]
        if self.table:
            lines += ["", *_columns(self.table)]
        for section in self.sections:
            width = max((len(check.name) for check in section.checks), default=0)
            lines += ["", section.title]
            for check in section.checks:
                lines.append(f"  {check.level:4}  {check.name:{width}}  {check.text}".rstrip())
                if check.remedy:
                    lines.append(f"  {'':4}  {'':{width}}  -> {check.remedy}")
        counts = self._counts()
        lines += ["", ", ".join(f"{counts[level]} {level}" for level in _LEVELS)]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """Return the same as plain data."""
        return {
            "version": lift3d_ros.__version__,
            "subject": self.subject,
            "exit_status": self.exit_status,
            "counts": self._counts(),
            "table": [list(row) for row in self.table],
            "sections": [dataclasses.asdict(section) for section in self.sections],
        }

    def write_json(self, path: Path) -> None:
        """Write the same as JSON.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"--json '{path}': cannot be written ({error.strerror or error}); give another file"
            ) from None

    def _checks(self) -> Iterator[Check]:
        for section in self.sections:
            yield from section.checks

    def _counts(self) -> dict[Level, int]:
        return {level: sum(check.level == level for check in self._checks()) for level in _LEVELS}


def _columns(table: tuple[tuple[str, ...], ...]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def count_text(count: int, noun: str) -> str:
    """Return ``1 camera``, ``2 cameras``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def bytes_text(count: float) -> str:
    """Return a number of bytes for people, in decimal bytes_text as the Fast DDS profile writes them."""
    for unit, size, least in (("GB", 1e9, 1e9), ("MB", 1e6, 1e5)):
        if count >= least:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
