"""The commands offer every backend that the settings know."""

from __future__ import annotations

import pytest

from lift3d_ros.cli.main import build_parser
from lift3d_ros.pipelines.backends import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "command",
    [
        "detect pictures --out out",
        "replay drive.mcap --out out",
        "lift keypoints.json --out out",
        "features scan.pcd --out out",
        "evaluate bev_detection --data scenes --out out",
        "evaluate skeleton_lifting --data poses --out out",
    ],
)
def test_the_backend_of_a_command_is_any_of_those_of_the_settings(command: str, backend: str) -> None:
    assert build_parser().parse_args([*command.split(), "--backend", backend]).backend == backend
