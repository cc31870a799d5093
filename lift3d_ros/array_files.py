"""Arrays of ``.npz`` and ``.npy`` files that come from anywhere: damage and mix-ups are told, never raised raw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ArrayArchive(NamedTuple):
    """What was asked for of an ``.npz`` file, as far as it is there, and the names of all that is."""

    arrays: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]


def read_archive(path: Path, *wanted: str) -> ArrayArchive:
    """Read some arrays of an ``.npz`` file, all where none is named; pickled objects are refused.

    Raises:
        ValueError: the file is damaged, or holds a single array; says so in one clause.
        OSError: it cannot be opened.
    """
    with _damage_told():
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it holds a single array without a name; rename it to .npy")
        with found as file:
            return ArrayArchive({name: file[name] for name in wanted or file if name in file}, tuple(file))


def read_array(path: Path) -> NDArray[Any]:
    """Read an ``.npy`` file; errors as of :func:`read_archive`."""
    with _damage_told():
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found as file:
                raise ValueError(f"it holds the arrays {', '.join(file) or 'none'}; rename it to .npz")
        return found


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # damage shows itself in many ways, also as a lack of memory
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from None
