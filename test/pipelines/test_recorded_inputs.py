"""The shipped scenes fit every network of their method, and the results on them mean something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from dfa3d_configs import SMALL

from lift3d_ros.engines.protocol import TensorSpec
from lift3d_ros.engines.torch_engine import TorchEngine
from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.detector import build_detector
from lift3d_ros.models.i2p_mae.config import preset as points_preset
from lift3d_ros.models.lrm.config import preset as lrm_preset
from lift3d_ros.pipelines.bev_graph import bev_signature
from lift3d_ros.pipelines.object_engine import planes_signature
from lift3d_ros.pipelines.point_graph import points_signature
from lift3d_ros.pipelines.recorded_inputs import (
    cloud_inputs,
    object_inputs,
    read_street,
    skeleton_inputs,
    street_inputs,
)
from lift3d_ros.pipelines.skeleton_graph import LFM_SIGNATURE


def assert_fits(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Any]) -> None:
    assert {spec.name for spec in specs} == inputs.keys()
    for spec in specs:
        assert spec.fits(inputs[spec.name]), spec.name


@pytest.mark.parametrize("cameras", [2, 6])
def test_a_drive_gives_pictures_motion_and_history(cameras: int) -> None:
    signature = bev_signature(SMALL, cameras, None)
    runs = street_inputs(TorchEngine(build_detector(SMALL, seed=0), signature, "cpu", 1), SMALL)
    assert len(runs) == 3
    for inputs in runs:
        assert_fits(signature.inputs, inputs)
    assert [inputs["history_valid"].item() for inputs in runs] == [0.0, 1.0, 1.0]
    assert runs[0]["images"].std() > 20.0


def test_skeletons_of_several_kinds_fit_the_lifter() -> None:
    runs = skeleton_inputs()
    for inputs in runs:
        assert_fits(LFM_SIGNATURE.inputs, inputs)
    assert sum(len(inputs["points"]) for inputs in runs) >= 20


def test_clouds_fit_the_encoder() -> None:
    config = points_preset("lift3d-points-small")
    assert config is not None
    runs = cloud_inputs(config)
    for inputs in runs:
        assert_fits(points_signature(config).inputs, inputs)
    assert sum(len(inputs["points"]) for inputs in runs) == 16


def test_objects_fit_the_reconstructor_and_are_not_empty() -> None:
    config = lrm_preset("lift3d-lrm-tiny")
    assert config is not None
    for inputs in object_inputs(config):
        assert_fits(planes_signature(config).inputs, inputs)
        assert inputs["images"].std() > 0.05


def test_a_file_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "street.npz"
    with pytest.raises(EngineError, match=r"street\.npz: cannot be read"):
        read_street(path)
    np.savez(path, **{"0/front/jpeg": np.zeros(3, np.uint8)})
    with pytest.raises(EngineError, match=r"street\.npz: holds no 'stamp_ns'"):
        read_street(path)
