"""Weights, cache folder and installed files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lift3d_ros.doctor.installation import check_files, check_weights
from lift3d_ros.doctor.report import Check, Section

MODEL = "  {name}:\n    method: dfa3d\n    preset: tiny\n    licence: Apache-2.0\n    source: test\n"


def check(section: Section, name: str) -> Check:
    (found,) = [check for check in section.checks if check.name == name]
    return found


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models: one trained, one damaged, one missing, one untrained."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "good.safetensors").write_bytes(b"weights")
    (folder / "damaged.safetensors").write_bytes(b"other")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    text = "models:\n"
    for name in ("good", "damaged", "missing"):
        text += MODEL.format(name=name) + f"    weights: {name}.safetensors\n    sha256: {sha256}\n"
    (folder / "manifest.yaml").write_text(text + MODEL.format(name="new") + "    weights: null\n")
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(folder))
    return folder


def test_every_model_is_checked_against_its_hash(models: Path) -> None:
    section = check_weights()
    assert check(section, "good").level == "OK"
    assert "hash ok" in check(section, "good").text
    assert check(section, "damaged").level == "FAIL"
    assert "SHA-256" in check(section, "damaged").text
    assert check(section, "missing").level == "FAIL"
    assert check(section, "new").level == "WARN"
    assert "untrained weights" in check(section, "new").text


def test_a_damaged_manifest_is_a_failure(models: Path) -> None:
    (models / "manifest.yaml").write_text("models: [")
    assert check(check_weights(), "manifest").level == "FAIL"


def test_the_cache_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path / "cache"))
    assert "0 kB used" in check(check_files(), "cache").text
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache" / "onnx").mkdir(parents=True)
    (tmp_path / "cache" / "onnx" / "a.onnx").write_bytes(bytes(2_000_000))
    assert "2.0 MB used" in check(check_files(), "cache").text


def test_a_cache_that_cannot_be_written_to_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        monkeypatch.setenv("LIFT3D_CACHE_DIR", str(folder))
        found = check(check_files(), "cache")
        assert found.level == "FAIL"
        assert "LIFT3D_CACHE_DIR" in found.remedy


def test_the_configuration_files_of_this_installation_are_found() -> None:
    names = [found.name for found in check_files().checks if found.level == "FAIL"]
    assert [name for name in names if name != "cache"] == []
