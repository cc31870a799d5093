"""Reads the numbers of labels from JSON, and says which field of which box holds something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Float64Array


def numbers(
    labels: list[Mapping[str, Any]], key: str, where: str, width: int = 0, *, default: float | None = None
) -> Float64Array:
    """Return a field of all labels, (M, `width`), or (M,) for one number each.

    Args:
        where: frame of the labels, for the message.
        default: for null and absence; None where neither is accepted. A null in a list of numbers is NaN.

    Raises:
        DatasetError: names box and field, and what stands there.
        KeyError: the field is absent and has no default.
    """
    rows = []
    for number, label in enumerate(labels):
        value = label[key] if default is None else label.get(key)
        given = [default] * (width or 1) if value is None else value if width else [value]
        items = [np.nan if item is None else item for item in given] if isinstance(given, list) else []
        if len(items) != (width or 1) or not all(_is_number(item) for item in items):
            expected = f"{width} numbers" if width else "a number"
            raise DatasetError(f"{where}, box {number}: field '{key}' is {value!r}; expected {expected}")
        rows.append(items)
    columns = np.array(rows, dtype=np.float64).reshape(-1, width or 1)
    return columns if width else columns[:, 0]


def whole_numbers(labels: list[Mapping[str, Any]], key: str, where: str) -> NDArray[np.int64]:
    """Return a field of all labels (M,), -1 for null and absence; every digit of a long number is kept.

    Raises:
        DatasetError: names box and field, and what stands there.
    """
    values = []
    for number, label in enumerate(labels):
        value = -1 if label.get(key) is None else label[key]
        if not _is_number(value) or value != value // 1 or abs(value) >= 2**63:
            raise DatasetError(f"{where}, box {number}: field '{key}' is {value!r}; expected a whole number")
        values.append(int(value))
    return np.array(values, dtype=np.int64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
