"""Inputs of networks come from recordings by the preparation of the nodes, with the state before each run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from mixer_graph import MIXER_PROFILE, mixer_inputs, write_mixer  # noqa: E402
from walk import Walk  # noqa: E402

from lift3d_ros.cli.engine_inputs import record_inputs  # noqa: E402
from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.pipelines.engine_subjects import EngineSubject, subject_of_graph  # noqa: E402
from lift3d_ros.pipelines.skeleton_graph import LFM_SIGNATURE, export_lfm_graph, untrained_lfm  # noqa: E402
from lift3d_ros.replay.run import FrameRange  # noqa: E402


def test_a_recording_of_keypoints_gives_the_inputs_of_the_lifter(tmp_path: Path) -> None:
    export_lfm_graph(untrained_lfm("lift3d-lfm-small"), tmp_path / "lfm.onnx")
    subject = subject_of_graph(tmp_path / "lfm.onnx")
    bag = Walk().write(tmp_path / "walk.mcap")
    tape = record_inputs(subject, bag, FrameRange(1, 3))
    assert len(tape.runs) == 4  # a person and an arm, padded apart, in two frames
    for inputs in tape.runs:
        assert all(spec.fits(inputs[spec.name]) for spec in LFM_SIGNATURE.inputs)
    with pytest.raises(ConfigError, match=r"walk\.mcap: gave no inputs to lfm; see --frames"):
        record_inputs(subject, bag, FrameRange(90, 91))


def test_scenes_of_the_package_come_with_the_states_before_each_run(tmp_path: Path) -> None:
    graph = tmp_path / "mixer.onnx"
    write_mixer(graph)
    runs = (mixer_inputs(2), mixer_inputs(3))
    subject = EngineSubject("mixer", graph, runs, MIXER_PROFILE, recorded=lambda: runs)
    tape = record_inputs(subject, None, FrameRange())
    assert not tape.states[0]["sum_before"].any()
    assert tape.states[1]["sum_before"].any()
    np.testing.assert_array_equal(tape.runs[1]["rows"], runs[1]["rows"])


def test_a_model_without_scenes_or_recordings_says_so(tmp_path: Path) -> None:
    graph = tmp_path / "mixer.onnx"
    write_mixer(graph)
    subject = EngineSubject("mixer", graph, ())
    with pytest.raises(ConfigError, match="mixer: this package has no scenes for it; give a recording with --bag"):
        record_inputs(subject, None, FrameRange())
    with pytest.raises(ConfigError, match="mixer: its inputs are not taken from recordings; leave out --bag"):
        record_inputs(subject, tmp_path / "drive.mcap", FrameRange())
