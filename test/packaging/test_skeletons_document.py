"""What docs/skeletons.md tells to do in five minutes works as it is written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.geometry.skeleton import skeleton_names
from lift3d_ros.weights.manifest import known_models

pytest.importorskip("torch", reason="torch is not installed")

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "skeletons.md").read_text(encoding="utf-8")
MANIFEST = "models: {lift3d-lfm: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}}\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the document; where the package has no trained lifter, a random one has its name."""
    if all(model.name != "lift3d-lfm" for model in known_models()):
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "manifest.yaml").write_text(MANIFEST)
        monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))
    for text in blocks("yaml"):
        name = re.match(r"# (\S+\.yaml)\n", text)
        assert name is not None
        (tmp_path / name[1]).write_text(text)
    (keypoints,) = blocks("json")
    (tmp_path / "keypoints.json").write_text(keypoints)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_skeleton_of_ones_own_is_lifted_and_gets_metres(folder: Path) -> None:
    commands = re.findall(r"^    (lift3d lift .*)$", DOCUMENT, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert lift3d(shlex.split(command)[1:]) == 0, command
    assert (folder / "lifted" / "pictures" / "dog.jpg").is_file()
    units = {}
    for name in ("lifted", "metric", "level"):
        document = json.loads((folder / name / "skeletons.json").read_text())
        (dog,) = document["pictures"][0]["skeletons"]
        assert len(dog["joints"]) == 15
        units[name] = (dog["unit"], dog["scale_source"])
    assert units == {"lifted": ("normalised", "none"), "metric": ("m", "category_size"), "level": ("m", "bone_length")}


def test_a_file_of_ones_own_is_measured(folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (code,) = blocks("python")
    exec(code, {})
    (command,) = re.findall(r"^    (lift3d evaluate .*)$", DOCUMENT, re.MULTILINE)
    assert lift3d(shlex.split(command)[1:]) == 0
    figures = json.loads((folder / "measured" / "metrics.json").read_text())["figures"]
    assert figures["per_file"]["leg.npz"]["frames"] == 50
    assert (folder / "measured" / "report.html").is_file()


def test_the_table_names_the_skeletons_of_the_package() -> None:
    named = re.findall(r"^\| `(\w+)` \| (\d+) \|", DOCUMENT, re.MULTILINE)
    assert sorted(name for name, _ in named) == list(skeleton_names())
