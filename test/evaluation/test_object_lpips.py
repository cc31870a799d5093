"""LPIPS follows its formula with weights that are given, and says what is missing where none are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor  # noqa: E402

from lift3d_ros.errors import WeightsError  # noqa: E402
from lift3d_ros.evaluation.object_lpips import (  # noqa: E402
    SMALLEST_SIDE,
    LpipsFiles,
    find_lpips_files,
    lpips_or_reason,
    open_lpips,
)
from lift3d_ros.models.backbones.alexnet import CHANNELS, AlexNet  # noqa: E402

BACKBONE = "alexnet-owt-7be5be79.pth"


def alexnet_that_looks_at_two_colours() -> dict[str, Tensor]:
    """Return weights: the first map is red and green of single pixels, all others are the same for all pictures."""
    state = {name: torch.zeros_like(tensor) for name, tensor in AlexNet().state_dict().items()}
    state["features.0.weight"][0, 0, 5, 5] = 1.0
    state["features.0.weight"][1, 1, 5, 5] = 1.0
    for name in state:
        if name.endswith("bias") and name != "features.0.bias":
            state[name] += 0.5
    return {**state, "classifier.6.bias": torch.zeros(1000)}


def linear() -> dict[str, Tensor]:
    return {
        f"lin{i}.model.1.weight": torch.linspace(0.1, 0.4, width).view(1, -1, 1, 1) for i, width in enumerate(CHANNELS)
    }


def write(folder: Path, backbone: dict[str, Tensor], weights: dict[str, Tensor]) -> LpipsFiles:
    files = LpipsFiles(folder / BACKBONE, folder / "alex.pth")
    torch.save(backbone, files.backbone)
    torch.save(weights, files.linear)
    return files


def plain(red: int, green: int) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, 0], np.uint8), (40, 48, 3))


def test_the_figure_is_the_one_that_the_formula_gives_by_hand(tmp_path: Path) -> None:
    measure = open_lpips(write(tmp_path, alexnet_that_looks_at_two_colours(), linear()))
    # -1..1, less the mean and over the standard deviation of LPIPS, rectified, then scaled to a norm of 1.
    first = np.array([(2 * 255 / 255 - 1 + 0.030) / 0.458, (2 * 204 / 255 - 1 + 0.088) / 0.448])
    second = np.array([(2 * 204 / 255 - 1 + 0.030) / 0.458, (2 * 255 / 255 - 1 + 0.088) / 0.448])
    squared = np.square(first / np.linalg.norm(first) - second / np.linalg.norm(second))
    expected = float(squared @ linear()["lin0.model.1.weight"].flatten()[:2].double().numpy())
    assert expected > 0.005
    assert measure(plain(255, 204), plain(204, 255)) == pytest.approx(expected, rel=1e-4)
    assert measure(plain(255, 204), plain(255, 204)) == 0.0


def test_the_smallest_picture_can_be_compared(tmp_path: Path) -> None:
    files = write(tmp_path, AlexNet().state_dict(), linear())
    measure, reason = lpips_or_reason(files, SMALLEST_SIDE)
    assert measure is not None
    assert not reason
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 255, (2, SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8)
    assert measure(first, second) > 0.0
    assert measure(first, second) == pytest.approx(measure(second, first), rel=1e-5)
    none, reason = lpips_or_reason(files, SMALLEST_SIDE - 1)
    assert none is None
    assert reason == "views have 30 px, and it compares pictures of 31 px or more"


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path, AlexNet().state_dict(), linear())
    with pytest.raises(
        WeightsError, match=r"alexnet.* is not the weights that LPIPS 0\.1 learned for AlexNet: expected"
    ):
        open_lpips(LpipsFiles(files.backbone, files.backbone))
    with pytest.raises(WeightsError, match=r"alex\.pth: is not AlexNet of torchvision: expected 'features\.0\.weight'"):
        open_lpips(LpipsFiles(files.linear, files.linear))
    with pytest.raises(WeightsError, match=r"nothing\.pth: not found"):
        open_lpips(LpipsFiles(tmp_path / "nothing.pth", files.linear))


def test_what_is_missing_is_said_and_files_that_are_there_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    found, problem = find_lpips_files()
    assert found is None
    assert problem.startswith(f"{BACKBONE} of torchvision is not in {tmp_path / 'torch/hub/checkpoints'}")
    checkpoints = tmp_path / "torch/hub/checkpoints"
    checkpoints.mkdir(parents=True)
    write(checkpoints, AlexNet().state_dict(), linear())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    found, problem = find_lpips_files()
    assert found is None
    assert "the Python package lpips, which has the learned weights, is not installed; give both files" in problem
    package = tmp_path / "site/lpips"
    (package / "weights/v0.1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('needs torchvision')\n", encoding="utf-8")
    torch.save(linear(), package / "weights/v0.1/alex.pth")
    importlib.invalidate_caches()
    found, problem = find_lpips_files()
    assert not problem
    assert found == LpipsFiles(checkpoints / BACKBONE, package / "weights/v0.1/alex.pth")
    assert not isinstance(sys.modules.get("lpips"), ModuleType)
