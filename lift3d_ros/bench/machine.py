"""Describes the machine that figures were measured on, and how much memory it has left; needs torch for a GPU only."""

from __future__ import annotations

import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from lift3d_ros.engines.split_engine import usable_cores

_PACKAGES = ("lift3d_ros", "torch", "numpy", "onnxruntime", "openvino", "numba", "tensorrt")


def describe_machine(device: str) -> dict[str, Any]:
    """Return processor, memory, versions and, for a CUDA device, the GPU, as plain data."""
    description: dict[str, Any] = {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "memory_gb": round(_meminfo("MemTotal") / 1e9, 1),
        "system": platform.system(),
        "has_c_compiler": shutil.which("cc") is not None,
        "versions": {"python": platform.python_version(), **_versions()},
    }
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        description["gpu"] = {
            "name": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return description


def available_bytes(device: str) -> int:
    """Return the memory that a call may still take on `device`; on a CPU a limit of the container counts too."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    available = _meminfo("MemAvailable")
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or no limit
        return available
    return min(available, limit)


def _meminfo(entry: str) -> int:
    """Return an entry of /proc/meminfo in bytes, 0 where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:")), 0)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor())


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
