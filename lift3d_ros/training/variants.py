"""Variants of one recipe that differ in one part, to be compared at equal size and schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
