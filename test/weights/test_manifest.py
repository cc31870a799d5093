"""Only models of the manifest are opened, and only with the weights that it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lift3d_ros.config import from_mapping, read_yaml_mapping
from lift3d_ros.errors import ConfigError, Lift3dError, WeightsError
from lift3d_ros.resources import find_resource
from lift3d_ros.weights.manifest import (
    MANIFEST,
    Manifest,
    find_model,
    known_models,
    models_dir,
    package_manifest,
    verified_weights_path,
)

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models of one's own."""
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    write_manifest(tmp_path, SHA256)
    (tmp_path / "mine.safetensors").write_bytes(CONTENT)
    return tmp_path


def write_manifest(folder: Path, sha256: str, **changes: str) -> None:
    values = {"method": "dfa3d", "preset": "tiny", "licence": "Apache-2.0", "source": "own", **changes}
    lines = [f"    {name}: {value}\n" for name, value in values.items()]
    weights = f"    weights: mine.safetensors\n    sha256: '{sha256}'\n"
    (folder / "manifest.yaml").write_text(f"models:\n  mine:\n{''.join(lines)}{weights}")


def test_every_shipped_model_is_what_the_manifest_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also keeps the sizes that the repository allows: 15 MB each, 45 MB in all."""
    monkeypatch.delenv("LIFT3D_MODELS_DIR", raising=False)
    path = find_resource(MANIFEST)
    models = from_mapping(Manifest, read_yaml_mapping(path), str(path)).models
    files = [verified_weights_path(name, entry) for name, entry in models.items()]
    sizes = [file.stat().st_size for file in files if file is not None]
    assert max(sizes, default=0) <= 15e6
    assert sum(sizes) <= 45e6
    assert find_model("dfa3d_tiny").licence == "Apache-2.0"


def test_a_folder_of_ones_own_adds_to_the_models_of_the_package(models: Path) -> None:
    entry = find_model("mine")
    assert (entry.method, entry.source) == ("dfa3d", "own")
    assert verified_weights_path("mine", entry) == models / "mine.safetensors"
    assert find_model("dfa3d_tiny").source == "this package"
    found = {model.name: model.manifest for model in known_models()}
    assert found["mine"] == models / "manifest.yaml"
    assert found["dfa3d_tiny"] == package_manifest()


def test_without_a_folder_of_ones_own_the_users_data_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIFT3D_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_model("dfa3d_tiny").source == "this package"
    assert not models_dir().exists(), "looking makes no folder"
    models_dir().mkdir(parents=True)
    write_manifest(models_dir(), SHA256)
    (models_dir() / "mine.safetensors").write_bytes(CONTENT)
    assert tmp_path in models_dir().parents
    assert verified_weights_path("mine", find_model("mine")) == models_dir() / "mine.safetensors"


def test_a_model_of_the_package_cannot_be_overridden(models: Path) -> None:
    text = (models / "manifest.yaml").read_text()
    (models / "manifest.yaml").write_text(text + text.partition("\n")[2].replace("mine:", "dfa3d_tiny:"))
    with pytest.raises(
        WeightsError, match=rf"{models}/manifest\.yaml: model 'dfa3d_tiny' has the name of .* give it another name"
    ):
        find_model("dfa3d_tiny")
    assert find_model("mine").source == "own", "the other models stay usable"


def test_a_copy_of_the_packages_folder_may_serve_as_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.yaml").write_bytes(package_manifest().read_bytes())
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    assert find_model("dfa3d_tiny").source == "this package"
    assert len({model.name for model in known_models()}) == len(known_models())
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(package_manifest().parent))
    assert find_model("dfa3d_tiny").source == "this package"


def test_an_imported_model_without_its_file_says_what_to_import(models: Path) -> None:
    write_manifest(models, SHA256, source="published.pth", source_sha256="ab")
    (models / "mine.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"SHA-256 is .*: import published\.pth again"):
        verified_weights_path("mine", find_model("mine"))
    (models / "mine.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"mine\.safetensors was not found; import published\.pth again"):
        verified_weights_path("mine", find_model("mine"))


def test_an_untrained_model_has_no_weights_file() -> None:
    entry = find_model("dfa3d_tiny")
    if entry.weights is not None:
        pytest.skip("dfa3d_tiny has trained weights")
    assert verified_weights_path("dfa3d_tiny", entry) is None


def test_an_unknown_model_suggests_the_nearest(models: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"model 'mime' is not in .*manifest\.yaml; did you mean 'mine'\?; known: .*, mine\."
    ):
        find_model("mime")


def test_weights_with_another_hash_are_refused(models: Path) -> None:
    (models / "mine.safetensors").write_bytes(CONTENT + b"!")
    found = hashlib.sha256(CONTENT + b"!").hexdigest()
    with pytest.raises(WeightsError, match=rf"SHA-256 is {found}; the manifest entry 'mine' expects {SHA256}"):
        verified_weights_path("mine", find_model("mine"))


def test_a_missing_weights_file_names_model_and_places(models: Path) -> None:
    (models / "mine.safetensors").unlink()
    with pytest.raises(
        WeightsError, match=rf"model 'mine': 'models/mine.safetensors' was not found; searched {models}"
    ):
        verified_weights_path("mine", find_model("mine"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("models: [", "manifest.yaml", id="not YAML"),
        pytest.param(
            "models:\n  mine: {metod: dfa3d}\n", "did you mean 'models.mine.method'|did you mean 'method'", id="name"
        ),
        pytest.param("models:\n  mine: {method: dfa3d}\n", "preset", id="field missing"),
        pytest.param("models:\n  mine: 3\n", "models.mine", id="not a group"),
    ],
)
def test_a_damaged_manifest_is_named(models: Path, text: str, expected: str) -> None:
    (models / "manifest.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        find_model("mine")
    assert isinstance(caught.value, Lift3dError)
    assert "manifest.yaml" in str(caught.value)
