"""Packages, combinations that are known to fail, and backends that really compute."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import pytest

from lift3d_ros.doctor.packages import check_backends, check_packages
from lift3d_ros.doctor.probes import LIGHT_MODULES, Probe, run_probe, run_probes
from lift3d_ros.doctor.report import Check, Section
from lift3d_ros.errors import EngineError

ABSENT = Probe(is_installed=False)
VERSIONS = {"numpy": "1.26.4", "opencv-python-headless": "4.11.0", "onnxruntime": "1.20.0", "rosbags": "0.11.0"}


def probes(**given: Probe) -> dict[str, Probe]:
    light = Probe({"errors": dict.fromkeys(LIGHT_MODULES, "")})
    names = ("rclpy", "onnxruntime", "openvino", "torch", "tensorrt", "cv_bridge")
    return dict.fromkeys(names, ABSENT) | {"light": light} | given


def version_of(versions: Mapping[str, str]) -> Callable[[str], str | None]:
    return versions.get


def problems(section: Section) -> list[Check]:
    return [check for check in section.checks if check.level != "OK"]


def cpu_only(requested: str) -> str:
    return "onnxruntime"


def test_optional_packages_may_be_missing() -> None:
    assert problems(check_packages(probes(), version_of(VERSIONS))) == []


def test_a_required_package_that_cannot_be_imported_is_a_failure() -> None:
    light = Probe({"errors": {"cv2": "ImportError: libGL.so.1: cannot open shared object file"}})
    (found,) = problems(check_packages(probes(light=light), version_of(VERSIONS)))
    assert found.level == "FAIL"
    assert "libGL.so.1" in found.text
    assert "opencv-python-headless" in found.remedy


def test_cv_bridge_for_numpy_1_beside_numpy_2_is_named() -> None:
    broken = probes(cv_bridge=Probe(error="AttributeError: _ARRAY_API not found"))
    (found,) = problems(check_packages(broken, version_of(VERSIONS | {"numpy": "2.1.0"})))
    assert found.level == "WARN"
    assert "numpy 2.1.0" in found.text
    assert "numpy<2" in found.remedy
    assert problems(check_packages(probes(cv_bridge=Probe({})), version_of(VERSIONS))) == []


def test_two_packages_that_overwrite_each_other_are_named() -> None:
    versions = VERSIONS | {"opencv-python": "4.9.0", "onnxruntime-gpu": "1.20.0"}
    found = problems(check_packages(probes(), version_of(versions)))
    assert [check.name for check in found] == ["opencv", "onnxruntime"]
    assert all("pip uninstall" in check.remedy for check in found)


def test_a_backend_that_does_not_compute_is_a_failure_on_the_cpu_and_a_warning_on_a_gpu() -> None:
    results = {"CUDAExecutionProvider": "falls back to CPUExecutionProvider", "CPUExecutionProvider": ""}
    runtime = Probe({"version": "1.20.0", "results": results})
    torch = Probe({"version": "2.4", "built_for_cuda": None, "gpus": [], "results": {"cpu": "illegal instruction"}})
    found = problems(check_backends(probes(onnxruntime=runtime, torch=torch), cpu_only))
    assert [(check.name, check.level) for check in found] == [("onnxruntime", "WARN"), ("torch", "FAIL")]


def test_openvino_that_does_not_compute_is_a_failure_and_one_that_is_absent_is_not_looked_at() -> None:
    broken = Probe({"version": "2026.4", "results": {"CPU": "cannot load the plugin of the CPU"}})
    (found,) = problems(check_backends(probes(openvino=broken), cpu_only))
    assert (found.name, found.level) == ("openvino", "FAIL")
    assert "cannot load the plugin" in found.text
    unloadable = Probe(error="ImportError: libopenvino.so: cannot open shared object file")
    (found,) = problems(check_backends(probes(openvino=unloadable), cpu_only))
    assert found.text.startswith("does not run: ImportError")
    assert not any(check.name == "openvino" for check in check_backends(probes(), cpu_only).checks)


def test_the_probe_of_openvino_computes_something_where_it_is_installed() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    found = run_probes()["openvino"]
    assert (found.error, found.values["results"]) == ("", {"CPU": ""})


def test_a_gpu_that_torch_does_not_see_is_a_warning() -> None:
    torch = Probe({"version": "2.4", "built_for_cuda": None, "gpus": [], "results": {"cpu": ""}})
    (found,) = problems(check_backends(probes(torch=torch), cpu_only, has_gpu=True))
    assert "build for CPUs" in found.text
    assert problems(check_backends(probes(torch=torch), cpu_only, has_gpu=False)) == []


def test_no_backend_at_all_is_a_failure() -> None:
    def none(requested: str) -> str:
        raise EngineError("none of onnxruntime, torch is installed")

    (found,) = problems(check_backends(probes(), none))
    assert found.level == "FAIL"
    assert "pip install onnxruntime" in found.remedy


def test_the_probes_compute_something_here() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    found = run_probes()
    assert found["light"].error == ""
    assert found["onnxruntime"].values["results"]["CPUExecutionProvider"] == ""
    assert problems(check_backends(found)) == []


def test_a_probe_that_crashes_or_hangs_or_fails_is_reported_and_does_no_harm() -> None:
    assert run_probe("print('{\"a\": 1}')").values == {"a": 1}
    assert "SIGSEGV" in run_probe("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)").error
    assert run_probe("raise ImportError('numpy is gone')").error == "ImportError: numpy is gone"
    assert "unexpected output" in run_probe("print('hello')").error
    assert "no answer" in run_probe("import threading\nthreading.Event().wait()", timeout_s=0.5).error


def test_a_probe_searches_packages_where_this_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/a folder/of 'ours'"])
    probe = run_probe("import json\nprint(json.dumps({'found': \"/a folder/of 'ours'\" in sys.path}))")
    assert probe.values == {"found": True}
