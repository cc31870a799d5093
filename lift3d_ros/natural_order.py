"""The order in which people count: ``bag_10`` comes behind ``bag_9``."""

from __future__ import annotations

import re


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key for file names; numbers in them count as numbers, and no two names are equal."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in (*parts, f"/{name}")]
