"""Imports packages in processes of their own, since a broken binary may crash the interpreter, and tells what came out.

A probe is a piece of Python that prints one JSON object on its last line. It runs with the search path and the
environment of this process.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT_S = 120.0
_JOBS = 2

ROS_MODULES = (
    "rclpy", "rcl_interfaces.msg", "std_msgs.msg", "sensor_msgs.msg", "geometry_msgs.msg", "nav_msgs.msg",
    "tf2_msgs.msg", "diagnostic_msgs.msg", "visualization_msgs.msg", "lift3d_ros.msg", "vision_msgs.msg",
)  # fmt: skip
LIGHT_MODULES = ("numpy", "cv2", "yaml", "rosbags.rosbag2", "jinja2", "tqdm", "filelock", "platformdirs")

# A graph with y = x + x for four float32 values.
_ONNX_SUM = (
    "080712003a370a0e0a01780a01781201792203416464120373756d5a0f0a017812"
    "0a0a08080112040a020804620f0a0179120a0a08080112040a02080442040a00100d"
)

_IMPORTS = """
import importlib, json
errors = {}
for name in MODULES:
    try:
        importlib.import_module(name)
        errors[name] = ""
    except Exception as error:
        errors[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
"""
_LIGHT = f"MODULES = {LIGHT_MODULES!r}\n{_IMPORTS}\nprint(json.dumps({{'errors': errors}}))"
_ROS = f"""
MODULES = {ROS_MODULES!r}
{_IMPORTS}
rmw = ""
if not errors["rclpy"]:
    import rclpy
    try:
        rmw = rclpy.get_rmw_implementation_identifier()
    except Exception as error:
        errors["rmw"] = ' '.join(str(error).split())
print(json.dumps({{"errors": errors, "rmw": rmw}}))
"""
_ONNXRUNTIME = f"""
import json
import numpy as np
import onnxruntime
onnxruntime.set_default_logger_severity(4)
results = {{}}
for name in onnxruntime.get_available_providers():
    if name == "AzureExecutionProvider":  # calls a remote service
        continue
    try:
        session = onnxruntime.InferenceSession(bytes.fromhex("{_ONNX_SUM}"), providers=[name])
        x = np.arange(4, dtype=np.float32)
        (y,) = session.run(None, {{"x": x}})
        if session.get_providers()[0] != name:
            results[name] = "falls back to " + session.get_providers()[0]
        else:
            results[name] = "" if np.array_equal(y, x + x) else f"wrong result {{y.tolist()}}"
    except Exception as error:
        results[name] = ' '.join(str(error).split())[:300]
print(json.dumps({{"version": onnxruntime.__version__, "results": results}}))
"""
_OPENVINO = f"""
import json
import numpy as np
import openvino
results = {{}}
try:
    core = openvino.Core()
    settings = {{"INFERENCE_PRECISION_HINT": "f32"}}
    graph = core.compile_model(core.read_model(bytes.fromhex("{_ONNX_SUM}")), "CPU", settings)
    x = np.arange(4, dtype=np.float32)
    y = graph([x])[0]
    results["CPU"] = "" if np.array_equal(y, x + x) else f"wrong result {{y.tolist()}}"
except Exception as error:
    results["CPU"] = ' '.join(str(error).split())[-300:]
print(json.dumps({{"version": openvino.__version__, "results": results}}))
"""
_TORCH = """
import json
import torch
def run(device):
    try:
        layer = torch.nn.Conv2d(3, 4, 3).to(device)
        with torch.inference_mode():
            total = float(layer(torch.ones(1, 3, 8, 8, device=device)).sum())
        return "" if total == total else "result is not a number"
    except Exception as error:
        return ' '.join(str(error).split())[:300]
has_cuda = torch.cuda.is_available()
results = {"cpu": run("cpu"), **({"cuda": run("cuda")} if has_cuda else {})}
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if has_cuda else []
facts = {"version": torch.__version__, "built_for_cuda": torch.version.cuda, "gpus": gpus, "results": results}
print(json.dumps(facts))
"""
_TENSORRT = """
import json
import tensorrt
builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
print(json.dumps({"version": tensorrt.__version__, "results": {"builder": "" if builder else "no builder"}}))
"""
_CV_BRIDGE = """
import json
from cv_bridge.boost import cv_bridge_boost
print(json.dumps({}))
"""
_CODE = {
    "light": _LIGHT, "rclpy": _ROS, "onnxruntime": _ONNXRUNTIME, "openvino": _OPENVINO, "torch": _TORCH,
    "tensorrt": _TENSORRT, "cv_bridge": _CV_BRIDGE,
}  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """What one probe printed; `error` says why it printed nothing; neither where the package is not installed."""

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    is_installed: bool = True


def run_probes() -> dict[str, Probe]:
    """Run every probe whose package is installed; some at the same time, since importing torch takes seconds."""
    with ThreadPoolExecutor(_JOBS) as pool:
        # The slowest first.
        names = sorted(_CODE, key=lambda name: name != "torch")
        return dict(zip(names, pool.map(_probe_if_installed, names), strict=True))


def probe_ros() -> Probe:
    """Run the probe of rclpy alone."""
    return _probe_if_installed("rclpy")


def run_probe(code: str, timeout_s: float = _TIMEOUT_S) -> Probe:
    """Run one piece of Python in a process of its own."""
    start = f"import sys\nsys.path[:] = {sys.path!r}\n"
    try:
        done = subprocess.run(
            [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Probe(error=f"no answer within {timeout_s:g} s")
    if done.returncode < 0:
        return Probe(error=f"the interpreter crashed: {_signal_name(-done.returncode)}")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        return Probe(error=said[-1] if said else f"exit status {done.returncode}")
    try:
        return Probe(json.loads(lines[-1]))
    except ValueError:
        return Probe(error=f"unexpected output: {lines[-1][:200]}")


def is_installed(package: str) -> bool:
    """Whether this Python finds a package; it need not be possible to import it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _probe_if_installed(name: str) -> Probe:
    if name != "light" and not is_installed(name):
        return Probe(is_installed=False)
    return run_probe(_CODE[name])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
