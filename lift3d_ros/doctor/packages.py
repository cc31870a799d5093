"""Checks which Python packages are installed, which combinations are known to fail, and which backends really run."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lift3d_ros.doctor.probes import Probe
from lift3d_ros.doctor.report import Check, Section, fail, ok, warn
from lift3d_ros.errors import EngineError
from lift3d_ros.pipelines.bev_engine import choose_backend

VersionOf = Callable[[str], "str | None"]


@dataclass(frozen=True)
class _Package:
    """`module` is what the probe of light packages imports; `purpose` says what an optional package is for."""

    name: str
    distributions: tuple[str, ...]
    module: str = ""
    purpose: str = ""


_OPENCV = (
    "opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python",
)  # fmt: skip
_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
_PACKAGES = (
    _Package("numpy", ("numpy",), "numpy"),
    _Package("opencv", _OPENCV, "cv2"),
    _Package("PyYAML", ("PyYAML",), "yaml"),
    _Package("rosbags", ("rosbags",), "rosbags.rosbag2"),
    _Package("Jinja2", ("Jinja2",), "jinja2"),
    _Package("onnxruntime", _ONNXRUNTIME, purpose="the engine without torch"),
    _Package("openvino", ("openvino",), purpose="the engine that is faster for some models on a CPU"),
    _Package("torch", ("torch",), purpose="training, export and the torch engine"),
    _Package("safetensors", ("safetensors",), purpose="weights for torch"),
    _Package("onnx", ("onnx",), purpose="export"),
    _Package("tensorrt", ("tensorrt",), purpose="the engine on NVIDIA GPUs"),
)


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_packages(probes: Mapping[str, Probe], version_of: VersionOf = installed_version) -> Section:
    """Look at versions, imports and combinations; `version_of` gives the version of a distribution or None."""
    light = probes["light"]
    errors: Mapping[str, str] = light.values.get("errors", {})
    checks = [_check_package(package, errors, light.error, version_of) for package in _PACKAGES]
    for name, variants in (("opencv", _OPENCV), ("onnxruntime", _ONNXRUNTIME)):
        twice = [variant for variant in variants if version_of(variant) is not None]
        if len(twice) > 1:
            text = f"{' and '.join(twice)} are both installed and overwrite each other's files"
            checks.append(warn(name, text, f"pip uninstall {' '.join(twice)}, then install the one you want"))
    checks += _check_cv_bridge(probes["cv_bridge"], version_of("numpy"))
    return Section("packages", tuple(checks))


def check_backends(
    probes: Mapping[str, Probe], choose: Callable[[str], str] = choose_backend, *, has_gpu: bool = False
) -> Section:
    """Say which runtimes computed something small; `has_gpu` tells that the machine has an NVIDIA GPU."""
    checks: list[Check] = []
    try:
        checks.append(ok("engine.backend auto", f"takes {choose('auto')}"))
    except EngineError as error:
        checks.append(fail("engine.backend auto", str(error), "pip install onnxruntime"))
    for name in ("onnxruntime", "openvino", "torch", "tensorrt"):
        probe = probes[name]
        if not probe.is_installed:
            continue
        if probe.error:
            checks.append(fail(name, f"does not run: {probe.error}", f"install {name} again, or uninstall it"))
            continue
        checks += [_check_result(name, device, said) for device, said in probe.values["results"].items()]
    torch = probes["torch"].values
    if torch and has_gpu and not torch["gpus"]:
        built = torch["built_for_cuda"]
        text = "the machine has an NVIDIA GPU, torch sees none" + ("" if built else "; it is a build for CPUs")
        remedy = "check the driver with nvidia-smi" if built else "install a torch build for CUDA"
        checks.append(warn("torch cuda", text, f"{remedy}; the CPU is used meanwhile"))
    elif torch and torch["gpus"]:
        checks.append(ok("torch cuda", f"CUDA {torch['built_for_cuda']}: {', '.join(torch['gpus'])}"))
    return Section("backends", tuple(checks))


def _check_package(package: _Package, errors: Mapping[str, str], light_error: str, version_of: VersionOf) -> Check:
    versions = [version for name in package.distributions if (version := version_of(name)) is not None]
    if package.purpose:
        return ok(package.name, versions[0] if versions else f"not installed (for {package.purpose})")
    error = errors.get(package.module, light_error)
    if error:
        return fail(
            package.name,
            f"cannot be imported: {error}",
            f"pip install --force-reinstall {package.distributions[0]}",
        )
    # A package of the system may have no metadata for pip.
    return ok(package.name, versions[0] if versions else "installed, version unknown")


def _check_cv_bridge(probe: Probe, numpy_version: str | None) -> list[Check]:
    if not probe.is_installed:
        return []
    if not probe.error:
        return [ok("cv_bridge", "can be imported (not used by this package)")]
    if numpy_version is not None and int(numpy_version.partition(".")[0]) >= 2:
        return [
            warn(
                "cv_bridge",
                f"is built for numpy 1 and does not load beside numpy {numpy_version} ({probe.error}); this package "
                "does not use it, other nodes do",
                "pip install 'numpy<2', in the environment of the nodes that need cv_bridge",
            )
        ]
    return [warn("cv_bridge", f"does not load: {probe.error}", "install it again if another node needs it")]


def _check_result(name: str, device: str, error: str) -> Check:
    if not error:
        return ok(name, f"{device} computes")
    if device.lower().startswith("cpu") or device == "builder":
        return fail(name, f"{device} does not compute: {error}", f"install {name} again")
    return warn(
        name,
        f"{device} does not compute: {error}",
        "check that driver, CUDA and cuDNN fit this build; the CPU is used meanwhile",
    )
