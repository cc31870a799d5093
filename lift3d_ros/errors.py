"""Every error that a user of the package can meet.

A message has four parts in one or two sentences: where (topic, file, parameter), what was found,
what was expected, and what to do about it. The command line prints it without a traceback and exits
with status 2; a node turns it into diagnostics and goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Lift3dError(Exception):
    """Base of all errors that are the fault of input, configuration or environment, not of the code."""


class ConfigError(Lift3dError):
    """A parameter, a YAML file or a command-line value is unknown, of the wrong type or out of range."""


class ImageError(Lift3dError):
    """A picture cannot be decoded: unknown encoding, wrong step or length, damaged compressed data."""


class CloudError(Lift3dError):
    """A point cloud cannot be read: missing or unusable fields, sizes that do not fit its data."""


class CalibrationError(Lift3dError):
    """Intrinsics, distortion or extrinsics of a camera are missing or unusable."""


class TransformError(Lift3dError):
    """A transform between two frames is not known at the requested time."""


class BagError(Lift3dError):
    """A recording cannot be read, or lacks what the task needs."""


class WeightsError(Lift3dError):
    """A weights file or the manifest is missing, damaged or belongs to another model."""


class EngineError(Lift3dError):
    """A runtime backend is missing, or an engine does not fit the inputs it is given."""


class DatasetError(Lift3dError):
    """A folder of labelled data does not have the documented layout."""


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, or ``""``."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""
