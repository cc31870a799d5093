"""Callbacks that a defect does not let take their node down.

An executor passes on what a callback raises, which ends the process, or, in older distributions, leaves the callback
group locked, so that the node is alive and never called again.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def surviving(callback: Callable[..., Any], report: Callable[[str], None], source: str) -> Callable[..., Any]:
    """Return a callback that reports what `callback` raises, and returns None then.

    Args:
        report: takes a sentence; may be called at the rate of the callback.
        source: begin of the sentence, for example ``topic '/front/keypoints'``.
    """

    def call(*arguments: Any) -> Any:
        try:
            return callback(*arguments)
        except Exception as error:
            report(f"{source}: {unexpected(error)}; this message or event is left out")
            logger.debug("raised by a callback", exc_info=True)
            return None

    return call


def unexpected(error: Exception) -> str:
    """Return what is to be said of an error that nobody foresaw, with the line that raised it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}"
