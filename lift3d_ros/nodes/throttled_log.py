"""Warnings that many messages in a row would cause, said once in a while with a count."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_PERIOD_S = 5.0
_MAX_KNOWN = 200


class ThrottledLog:
    """Says a sentence, and the same one, but for its numbers, again after five seconds at the earliest."""

    def __init__(self, say: Callable[[str], object]) -> None:
        """Hand what is to be said to `say`."""
        self._say = say
        self._said: dict[str, tuple[float, int]] = {}

    def add(self, sentence: str) -> None:
        """Say a sentence, or count it."""
        now_s, key = time.monotonic(), re.sub(r"\d+", "#", sentence)
        last_s, count = self._said.get(key, (-_PERIOD_S, 0))
        if now_s - last_s < _PERIOD_S:
            self._said[key] = (last_s, count + 1)
            return
        if len(self._said) > _MAX_KNOWN:
            self._said.clear()
        self._said[key] = (now_s, 0)
        self._say(sentence + (f" ({count} more since the last line)" if count else ""))
