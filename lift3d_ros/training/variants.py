"""Variants of one recipe that differ in one part, to be compared at equal size and schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.training.settings import RunSettings


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings replaced.

    Args:
        changes: ``name=value``, as of ``--set``.
    """

    name: str
    description: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A question: by how much is `variant` above `other`?"""

    title: str
    variant: str
    other: str


def find_variant(name: str, variants: Sequence[Variant]) -> Variant:
    """Return the variant called `name`.

    Raises:
        ConfigError: there is none; names the nearest known one.
    """
    known = {variant.name: variant for variant in variants}
    if name not in known:
        raise ConfigError(f"variant '{name}' is not known{nearest_name_hint(name, known)}; known: {', '.join(known)}")
    return known[name]


def check_equal_length(path: Path, run: RunSettings) -> None:
    """Refuse a recipe whose length depends on the speed of the machine.

    Raises:
        ConfigError: it has no number of steps, or a number of minutes.
    """
    if not run.max_steps or run.max_minutes:
        raise ConfigError(
            f"{path}: run.max_steps is {run.max_steps}, run.max_minutes {run.max_minutes:g}; variants are compared "
            "after equally many samples: expected a number of steps, and max_minutes 0"
        )


@dataclass(frozen=True)
class VariantRuns:
    """The runs of a comparison in one folder; each leaves its figures in ``results`` and is not made again."""

    folder: Path

    def run_folder(self, name: str, seed: int) -> Path:
        """Return where a run has its checkpoints."""
        return self.folder / "runs" / f"{name}-{seed}"

    def read(self, name: str, seed: int, agreed: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the record of a finished run, None where there is none.

        Raises:
            ConfigError: it is one of another recipe or length than `agreed` says.
        """
        path = self._record(name, seed)
        if not path.is_file():
            return None
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key, wanted in agreed.items():
            if stored[key] != wanted:
                raise ConfigError(
                    f"{path}: was made with another '{key}'; expected that of this call. Name another --out"
                )
        return stored

    def write(self, name: str, seed: int, record: Mapping[str, Any]) -> None:
        """Write the record of a run, which makes it a finished one."""
        path = self._record(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _record(self, name: str, seed: int) -> Path:
        return self.folder / "results" / f"{name}-{seed}.json"


def agreement(facts: Mapping[str, Any], run: RunSettings) -> dict[str, Any]:
    """Return what runs must share to be compared, as plain data: recipe and length."""
    return {"recipe": json.loads(json.dumps(facts)), "steps": run.max_steps}
