"""Runs every numeric case of the parity folders; each case is one test.

Folders: ``$LIFT3D_PARITY_DIR``, by default ``$LIFT3D_SHARED_DIR/parity``; each method has a folder with an
``INDEX.json``. Select with ``pytest test/parity -k dfa3d``. ``LIFT3D_PARITY_DEVICE=cuda`` runs them on a GPU.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # files of cases import each other
SHARED = Path(os.environ.get("LIFT3D_SHARED_DIR", HERE.parents[1].parent / "shared"))
PARITY = Path(os.environ.get("LIFT3D_PARITY_DIR", SHARED / "parity"))

DEVICE = os.environ.get("LIFT3D_PARITY_DEVICE", "cpu")
torch.backends.cudnn.allow_tf32 = False  # the cases compare float32

Runner = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def find_runner(method: str, name: str) -> Runner | None:
    """Return the function that runs the case called `name`, from ``<method>_*_cases.py``, if it is built yet."""
    for path in sorted(HERE.glob(f"{method}_*_cases.py")):
        runner: Runner | None = importlib.import_module(path.stem).find_runner(name)
        if runner is not None:
            return runner
    return None


def cases() -> Iterator[Any]:
    for index in sorted(PARITY.glob("*/INDEX.json")):
        document = json.loads(index.read_text())
        for case in document["cases"]:
            yield pytest.param(index.parent, document["method"], case, id=f"{index.parent.name}-{case['name']}")


@pytest.mark.parametrize(
    ("folder", "method", "case"),
    list(cases()) or [pytest.param(None, "", {}, marks=pytest.mark.skip(reason=f"no parity cases under {PARITY}"))],
)
def test_case(folder: Path, method: str, case: dict[str, Any]) -> None:
    runner = find_runner(folder.name, case["name"])
    if runner is None:
        pytest.skip(f"{folder.name}: the block of '{case['name']}' ({case['module']}) is not built yet")
    with np.load(folder / f"{case['name']}.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    with torch.device(DEVICE):
        found = runner(case, {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()})
    is_scaled = "max(abs(expected" in case["compare"]  # errors relative to the largest magnitude of each array
    for output in case["outputs"]:
        name = output["name"]
        expected = arrays[f"out.{name}"].astype(np.float64)
        actual = found[name].detach().cpu().numpy().astype(np.float64)
        assert actual.shape == expected.shape, name
        atol, rtol = case["atol"], case["rtol"]
        if is_scaled:
            atol, rtol = atol + rtol * float(np.abs(expected).max(initial=0.0)), 0.0
        np.testing.assert_allclose(actual, expected, atol=atol, rtol=rtol, err_msg=name)
