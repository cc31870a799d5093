"""Prepared samples of a small made-up street: coloured boxes on a plane, seen by cameras all around."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
