"""The workloads of `lift3d bench all` are inputs that the pipelines accept without a complaint."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench import subjects
from lift3d_ros.bench.subjects import detector_subject, encoder_subject, lifter_subject, reconstructor_subject
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.point_engine import open_point_source
from lift3d_ros.pipelines.point_network import untrained_points

TORCH = EngineConfig("torch", threads=1)
STEP_NS = 100_000_000


def test_the_detector_drives_with_six_cameras_and_keeps_its_memory() -> None:
    subject = detector_subject("dfa3d_tiny", TORCH)
    for number in range(2):
        result = subject.pipeline.infer(subject.pipeline.prepare(subject.frame_at(number * STEP_NS)))
    assert result.problems == ()
    assert result.temporal_state == "fused"
    assert [camera.is_used for camera in result.cameras] == [True] * 6
    assert subject.workload.startswith("6 JPEG pictures of 1600x900")


def test_the_lifter_lifts_every_instance() -> None:
    subject = lifter_subject("lift3d-lfm", TORCH)
    result = subject.pipeline.infer(subject.pipeline.prepare(subject.frame_at(STEP_NS)))
    assert (result.stamp_ns, len(result.skeletons)) == (STEP_NS, 5)
    assert subject.workload == "5 instances of 17 joints, calibrated camera"


def test_the_encoder_encodes_every_box(monkeypatch: pytest.MonkeyPatch) -> None:
    source = untrained_points("lift3d-points-small")
    monkeypatch.setattr(subjects, "open_point_engine", lambda _, config: open_point_source(source, config))
    subject = encoder_subject("any", TORCH)
    result = subject.pipeline.infer(subject.pipeline.prepare(subject.frame_at(STEP_NS)))
    assert (result.stamp_ns, len(result.features)) == (STEP_NS, 10)
    assert result.problems == ()


def test_the_reconstructor_makes_the_same_mesh_of_each_picture() -> None:
    subject = reconstructor_subject("lift3d-lrm-tiny", TORCH)
    first, second = (
        subject.pipeline.infer(subject.pipeline.prepare(subject.frame_at(stamp_ns))) for stamp_ns in (0, STEP_NS)
    )
    assert second.stamp_ns == STEP_NS
    assert len(first.faces) == len(second.faces) > 1000
