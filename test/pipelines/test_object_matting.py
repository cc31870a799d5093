"""A matting network finds the object in a box or in all of a picture; without it a sentence says what is missing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import ImageError, Lift3dError
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.pipelines import object_foreground, object_matting
from lift3d_ros.pipelines.object_foreground import find_object
from lift3d_ros.pipelines.object_matting import matting, without_haze
from lift3d_ros.pipelines.object_sets import ObjectInputConfig

needs_rembg = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("rembg", "onnx", "onnxruntime")),
    reason="rembg is not installed",
)
# Two red discs on blue ground: (row, column, radius).
DISCS = ((50, 40, 25), (60, 120, 20))


def picture() -> Any:
    row, column = np.mgrid[0:120, 0:160]
    is_disc = np.any([np.hypot(row - y, column - x) < radius for y, x, radius in DISCS], axis=0)
    return np.where(is_disc[..., None], [220, 20, 20], [20, 30, 90]).astype(np.uint8)


@pytest.fixture(autouse=True)
def _fresh_session() -> Iterator[None]:
    object_matting._session.cache_clear()
    yield
    object_matting._session.cache_clear()


@pytest.fixture
def red(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network to which all that is red is the object."""
    monkeypatch.setattr(object_foreground, "matting", lambda rgb: np.where(rgb[..., 0] > 128, 255, 3).astype(np.uint8))


@pytest.mark.usefixtures("red")
def test_without_a_box_all_of_the_picture_is_searched() -> None:
    found = find_object(picture(), box_cutting="rembg")
    assert found.cutting == "rembg"
    assert found.box == PixelBox(26, 16, 80, 140)
    assert not found.is_cut_off


@pytest.mark.usefixtures("red")
def test_a_box_picks_one_of_several_objects() -> None:
    found = find_object(picture(), box=PixelBox(30, 90, 95, 155), box_cutting="rembg")
    assert found.box == PixelBox(41, 101, 80, 140)
    assert set(np.unique(found.rgba[..., 3])) == {0, 255}
    with pytest.raises(ImageError, match=r"the cut-out is empty within the box \(75, 5\) to \(95, 25\)"):
        find_object(picture(), box=PixelBox(5, 75, 25, 95), box_cutting="rembg")


@pytest.mark.usefixtures("red")
def test_a_mask_counts_more() -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[5:25, 5:25] = 255
    assert find_object(picture(), mask=mask, box_cutting="rembg").cutting == "mask"


def test_edges_stay_soft_and_haze_does_not_belong_to_the_object() -> None:
    alpha = np.full((100, 100), 30, np.uint8)
    alpha[40:60, 40:60] = 255
    alpha[39, 40:60] = 90
    cleaned = without_haze(alpha)
    rows, columns = np.nonzero(cleaned)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (38, 61, 38, 61)
    assert (cleaned[39, 40:60] == 90).all()
    assert not without_haze(np.full((50, 50), 120, np.uint8)).any()


def test_where_rembg_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rembg" else find_spec(name))
    for ask in (
        lambda: find_object(picture(), box_cutting="rembg"),
        ObjectReconstructionNodeConfig(input=ObjectInputConfig("rembg")).check_model,
    ):
        with pytest.raises(
            Lift3dError, match=r"finding objects by rembg needs rembg, not installed .*'pip install rembg'"
        ):
            ask()


def test_a_package_that_cannot_be_loaded_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rembg.py").write_text("import sys\nsys.exit('no runtime')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "rembg", raising=False)
    monkeypatch.setattr(object_matting, "check_rembg", lambda: None)
    with pytest.raises(
        Lift3dError, match=r"rembg is installed and cannot be loaded \(no runtime\); 'pip install rembg"
    ):
        matting(picture())


def write_network(path: Path) -> None:
    """Write a network in the place and with the tensors of U2-Net, whose answer is the red of the picture."""
    from onnx import TensorProto, helper, save

    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 320, 320])
    alpha = helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, 320, 320])
    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    node = helper.make_node("Gather", ["picture", "first"], ["alpha"], axis=1)
    graph = helper.make_graph([node], "red", [picture], [alpha], [first])
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@needs_rembg
@pytest.mark.slow
@pytest.mark.timeout(1200)  # rembg compiles what it imports, once
def test_the_alpha_of_rembg_is_that_of_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "1")
    write_network(tmp_path / "u2net.onnx")
    alpha = matting(picture())
    assert alpha.shape == (120, 160)
    is_red = picture()[..., 0] > 128
    assert ((alpha > 127) == is_red).mean() > 0.98
    assert find_object(picture(), box=PixelBox(30, 90, 95, 155), box_cutting="rembg").box.width in range(38, 48)


@needs_rembg
@pytest.mark.slow
@pytest.mark.timeout(1200)  # rembg compiles what it imports, once
def test_a_damaged_network_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "1")
    (tmp_path / "u2net.onnx").write_bytes(b"no network")
    with pytest.raises(Lift3dError, match=r"rembg cannot open its network u2net \(.*copy u2net\.onnx into a folder"):
        matting(picture())
