"""Files of --params: settings of a run, and the parameter files of the nodes."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.cli import detection_run, encoding_run, lifting_run, reconstruction_run
from lift3d_ros.cli.main import build_parser, main
from lift3d_ros.cli.run_settings import read_run_settings
from lift3d_ros.cli.task_run import settings_of
from lift3d_ros.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, type[Any]] = {
    "bev_detection": detection_run.RunConfig,
    "skeleton_lifting": lifting_run.RunConfig,
    "point_features": encoding_run.RunConfig,
    "object_reconstruction": reconstruction_run.RunConfig,
}


def replay_arguments(task: str, params: Path) -> argparse.Namespace:
    return build_parser().parse_args(["replay", "x.mcap", "--task", task, "--out", "out", "--params", str(params)])


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("task", KINDS)
def test_the_shipped_file_of_a_node_gives_a_replay_its_defaults(task: str, caplog: pytest.LogCaptureFixture) -> None:
    shipped = ROOT / "config" / f"{task}.yaml"
    with caplog.at_level(logging.INFO, logger="lift3d_ros"):
        assert settings_of(KINDS[task], replay_arguments(task, shipped), task) == KINDS[task]()
    (line,) = caplog.messages
    assert f"{shipped}: parameters of the node '{task}' that are left out here: " in line
    assert "autostart" in line
    assert "topics" in line
    assert "qos" in line
    assert "engine" not in line


@pytest.mark.parametrize("task", KINDS)
def test_a_wrong_name_in_the_file_of_a_node_is_an_error(task: str, tmp_path: Path) -> None:
    text = (ROOT / "config" / f"{task}.yaml").read_text(encoding="utf-8").replace("threads:", "treads:")
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        settings_of(KINDS[task], replay_arguments(task, path), task)
    for part in (str(path), "'engine.treads'; did you mean 'engine.threads'?", f"config/{task}.yaml"):
        assert part in str(caught.value)


def test_what_the_node_and_the_run_share_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(
        tmp_path,
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    topics: {boxes: /boxes, cloud: points}\n"
        "    qos.depth: 5\n/front/point_features:\n  ros__parameters: {encoder.max_crops: 3}\n"
        "bev_detection:\n  ros__parameters: {cameras: [front]}\n",
    )
    with caplog.at_level(logging.INFO, logger="lift3d_ros"):
        given = read_run_settings(path, encoding_run.RunConfig, "point_features")
    assert given == {"topics": {"boxes": "/boxes"}, "encoder": {"max_crops": 3}}
    assert caplog.messages[0].endswith("left out here: topics.cloud, qos")


def test_a_value_of_the_wrong_type_names_file_and_key(tmp_path: Path) -> None:
    path = written(tmp_path, "/**: {ros__parameters: {detector: {max_boxes: many}}}\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: 'detector\.max_boxes' must be a whole number, got 'many'"):
        settings_of(detection_run.RunConfig, replay_arguments("bev_detection", path), "bev_detection")


def test_a_file_of_another_node_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "point_features: {ros__parameters: {model: x}}\n")
    with pytest.raises(ConfigError, match="holds no parameters of 'bev_detection'"):
        read_run_settings(path, detection_run.RunConfig, "bev_detection")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "skeleton_lifting", "--data", "FOLDER", "--out", "OUT"],
        ["evaluate", "bev_detection", "--data", "FOLDER", "--out", "OUT"],
        ["reconstruct", "PICTURE", "--out", "OUT.ply"],
    ],
)
def test_other_verbs_read_the_files_of_nodes_too(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "mug.png"), np.full((8, 8, 4), 255, dtype=np.uint8))
    (tmp_path / "data").mkdir()
    path = written(tmp_path, "/**: {ros__parameters: {modell: x}}\n")
    places = {"FOLDER": "data", "PICTURE": "mug.png", "OUT": "out", "OUT.ply": "out.ply"}
    given = [str(tmp_path / places[part]) if part in places else part for part in command]
    assert main([*given, "--params", str(path)]) == 2
    assert "unknown name 'modell'; did you mean 'model'?; all names of the node" in capsys.readouterr().err
