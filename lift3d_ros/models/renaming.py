"""Two-way tables of names of weights, published and ours; imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_Table = Sequence[tuple[re.Pattern[str], str]]


class Renaming:
    """Renames by the beginning of a name; the first pair that fits counts.

    Args:
        pairs: beginnings, published and ours; each '#' is a number, the same and in the same order in both.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        pairs = tuple(pairs)
        self._to_ours = tuple(_compiled(published, ours) for published, ours in pairs)
        self._to_published = tuple(_compiled(ours, published) for published, ours in pairs)

    def ours(self, published: str) -> str | None:
        """Return our name of a published one, None where no pair fits."""
        return _renamed(published, self._to_ours)

    def published(self, ours: str) -> str | None:
        """Return the published name of one of ours, None where no pair fits."""
        return _renamed(ours, self._to_published)


def _compiled(beginning: str, replacement: str) -> tuple[re.Pattern[str], str]:
    parts = replacement.split("#")
    expanded = parts[0] + "".join(rf"\g<{number}>{part}" for number, part in enumerate(parts[1:], start=1))
    return re.compile(re.escape(beginning).replace(r"\#", r"(\d+)")), expanded


def _renamed(name: str, table: _Table) -> str | None:
    for pattern, replacement in table:
        found = pattern.match(name)
        if found:
            return found.expand(replacement) + name[found.end() :]
    return None
