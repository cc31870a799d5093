"""Checks a machine without running anything of ROS: environment, packages, backends, shared memory, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lift3d_ros.doctor.environment import check_environment
from lift3d_ros.doctor.installation import check_files, check_weights
from lift3d_ros.doctor.packages import check_backends, check_packages
from lift3d_ros.doctor.probes import run_probes
from lift3d_ros.doctor.report import Report
from lift3d_ros.doctor.shared_memory import check_shared_memory


def check_machine(env: Mapping[str, str]) -> Report:
    """Return the report about this machine, for the environment variables `env`."""
    probes = run_probes()
    ros = probes["rclpy"]
    has_gpu = any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/nvhost-gpu"))
    sections = (
        check_environment(env, ros),
        check_packages(probes),
        check_backends(probes, has_gpu=has_gpu),
        check_shared_memory(env, has_ros=ros.is_installed, rmw=str(ros.values.get("rmw", ""))),
        check_weights(),
        check_files(),
    )
    return Report("this machine", sections)
