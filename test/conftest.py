"""Shared fixtures: where the reference data lies and how its absence is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_root() -> Path:
    """Return the folder of reference data; it need not exist."""
    return Path(os.environ.get("LIFT3D_SHARED_DIR", REPOSITORY.parent / "shared")).resolve()


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    root = shared_root()
    if not (root / "data").is_dir():
        pytest.skip(f"no reference data: {root}/data does not exist; set LIFT3D_SHARED_DIR")
    return root
