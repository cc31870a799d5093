"""Groups without torch are those that the network was trained with, with and without the optional libraries."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lift3d_ros.models.i2p_mae.cloud_groups import group_cloud
from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.ops import cloud_search

CONFIG = TokenConfig((60, 30, 10), (8, 5, 4), skips_near_origin=True)


def cloud(kind: str) -> Any:
    points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    if kind == "grid":
        return np.stack(np.meshgrid(*[np.arange(6.0, dtype=np.float32)] * 3), -1).reshape(-1, 3)
    if kind == "not finite":
        points[::7] = np.nan
    if kind == "nothing finite":
        points[:] = np.inf
    return points[:20] if kind == "few" else points


KINDS = ["random", "grid", "not finite", "nothing finite", "few"]


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_and_tensors_give_the_same_groups(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from lift3d_ros.models.i2p_mae.tokenizer import group_scales

    points = cloud(kind)
    for found, expected in zip(
        group_cloud(points, CONFIG), group_scales(torch.tensor(points)[None], CONFIG), strict=True
    ):
        for name in found._fields:
            assert np.array_equal(getattr(found, name), getattr(expected, name)[0].numpy()), name


@pytest.mark.parametrize("kind", KINDS)
def test_optional_libraries_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_libraries = group_cloud(cloud(kind), CONFIG)
    monkeypatch.setattr(cloud_search.importlib.util, "find_spec", lambda name: None)
    for found, expected in zip(group_cloud(cloud(kind), CONFIG), with_libraries, strict=True):
        for name in found._fields:
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_grouping_loads_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from lift3d_ros.models.i2p_mae.cloud_groups import group_cloud\n"
        "from lift3d_ros.models.i2p_mae.config import TokenConfig\n"
        "print(len(group_cloud(np.random.rand(90, 3), TokenConfig((8, 4), (4, 2)))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr
