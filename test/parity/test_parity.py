"""Runs every numeric case of the parity folders; each case is one test.

Folders: ``$LIFT3D_PARITY_DIR``, by default ``$LIFT3D_SHARED_DIR/parity``; each method has a folder with an
``INDEX.json``. Select with ``pytest test/parity -k dfa3d``.
"""

from __future__ import annotations

import importlib.util
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
SHARED = Path(os.environ.get("LIFT3D_SHARED_DIR", HERE.parents[1].parent / "shared"))
PARITY = Path(os.environ.get("LIFT3D_PARITY_DIR", SHARED / "parity"))

Runner = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def find_runner(method: str, name: str) -> Runner | None:
    """Return the function of ``<method>_cases.py`` that runs the case called `name`, if it is built yet."""
    path = HERE / f"{method}_cases.py"
    if not path.exists():
        return None
    module_name = f"parity_{method}_cases"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    runner: Runner | None = sys.modules[module_name].find_runner(name)
    return runner


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
    found = runner(case, {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()})
    for output in case["outputs"]:
        name = output["name"]
        expected = arrays[f"out.{name}"]
        actual = found[name].detach().numpy()
        assert actual.shape == expected.shape, name
        np.testing.assert_allclose(
            actual.astype(np.float64), expected.astype(np.float64), atol=case["atol"], rtol=case["rtol"], err_msg=name
        )
