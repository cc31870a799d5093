"""Published weights of OpenLRM and TripoSR have a place for every tensor, and become models or a sentence why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.errors import WeightsError
from lift3d_ros.models.lrm.published_keys import LAYOUTS, our_key, published_key
from lift3d_ros.weights import published
from lift3d_ros.weights.importing import import_checkpoint
from lift3d_ros.weights.manifest import find_model, known_models, sha256_of, verified_weights_path
from lift3d_ros.weights.published import PUBLISHED_LICENCES, check_preset, fitting_presets
from lift3d_ros.weights.verify import verify_model

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

Shapes = Mapping[str, tuple[int, ...]]

TABLES = {
    "openlrm-base-1.0": "openlrm_base_1.0",
    "openlrm-small-1.1": "openlrm_small_1.1",
    "openlrm-base-1.1": "openlrm_base_1.1",
    "openlrm-large-1.1": "openlrm_large_1.1",
    "triposr": "triposr",
}
POOLER = ("image_tokenizer.model.pooler.dense.weight", "image_tokenizer.model.pooler.dense.bias")


def key_table(shared_dir: Path, preset: str) -> Shapes:
    table = json.loads((shared_dir / "reference" / f"lrm_keys_{TABLES[preset]}.json").read_text())
    return {name: tuple(shape) for name, shape in table["tensors"].items()}


@pytest.mark.parametrize("preset", TABLES)
def test_every_published_tensor_has_its_place_and_every_place_its_tensor(shared_dir: Path, preset: str) -> None:
    shapes = key_table(shared_dir, preset)
    report = check_preset(shapes, preset)
    assert report.fits, report.describe()
    assert len(report.matches) == report.num_expected == len(shapes) - len(report.surplus)
    assert report.surplus == (POOLER if preset == "triposr" else ())
    assert fitting_presets(shapes) == (preset,)
    for ours, name in report.matches.items():
        assert our_key(name, LAYOUTS[preset]) == ours
        assert published_key(ours, LAYOUTS[preset]) == name


def test_a_missing_and_an_unknown_tensor_are_named_as_published(shared_dir: Path) -> None:
    shapes = dict(key_table(shared_dir, "triposr"))
    del shapes["backbone.transformer_blocks.3.ff.net.0.proj.bias"]
    report = check_preset({**shapes, "backbone.transformer_blocks.3.attn3.to_q.weight": (1,)}, "triposr")
    assert report.missing == ("backbone.transformer_blocks.3.ff.net.0.proj.bias",)
    assert report.unexpected == ("backbone.transformer_blocks.3.attn3.to_q.weight",)
    renamed = {name.replace("encoder.layer.", "layers."): shape for name, shape in shapes.items()}
    assert len(check_preset(renamed, "triposr").missing) > 190  # as newer libraries would name them


def test_licences_tell_free_from_non_commercial() -> None:
    assert PUBLISHED_LICENCES["triposr"] == "MIT"
    for name in LAYOUTS:
        assert name == "triposr" or "non-commercial" in PUBLISHED_LICENCES[name]


OPENLRM_1_0 = {
    "transformer.pos_embed": (1, 12, 8),
    "transformer.deconv.bias": (4,),
    "encoder.model.encoder.layer.1.attention.attention.key.bias": (8,),
}
OPENLRM_1_1 = {"pos_embed": (1, 12, 8), "upsampler.bias": (4,), "encoder.model.register_tokens": (1, 4, 8)}
TRIPOSR = {"tokenizer.embeddings": (3, 8, 2, 2), "post_processor.upsample.bias": (4,), POOLER[1]: (8,)}
SMALL = {"openlrm-base-1.0": OPENLRM_1_0, "openlrm-base-1.1": OPENLRM_1_1, "triposr": TRIPOSR}
KWARGS = {
    "model": {"transformer_heads": 16, "camera_embed_dim": 1024, "rendering_samples_per_ray": 96, "x": "y"},
    "infer": {"source_size": 336, "render_size": 192},
}


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of three weights in place of the published ones."""

    def shapes(preset: str) -> Shapes:
        if preset not in LAYOUTS:
            return {}
        family = next((name for name in SMALL if LAYOUTS[name] == LAYOUTS[preset]), "")
        found = {our_key(name, LAYOUTS[preset]): shape for name, shape in SMALL[family].items()}
        found.pop(None, None)
        return {str(name): (shape if preset in SMALL else (1, *shape)) for name, shape in found.items()}

    monkeypatch.setattr(published, "network_shapes", shapes)
    monkeypatch.setattr("lift3d_ros.weights.verify.network_shapes", shapes)


def write(path: Path, preset: str, **beside: Any) -> Path:
    """Write a file in the form in which the weights of this configuration are published."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {name: torch.randn(shape) for name, shape in SMALL[preset].items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"weights": state, **beside} if beside else state, path)
    return path


@pytest.mark.parametrize(
    ("preset", "name", "beside"),
    [
        pytest.param("openlrm-base-1.0", "model.pth", {"kwargs": KWARGS}, id="OpenLRM 1.0"),
        pytest.param("openlrm-base-1.1", "model.safetensors", {}, id="OpenLRM 1.1"),
        pytest.param("triposr", "model.ckpt", {}, id="TripoSR"),
        pytest.param("triposr", "model.safetensors", {}, id="TripoSR as safetensors"),
    ],
)
def test_published_files_become_models_with_their_licence(
    small_networks: None, own_models: Path, tmp_path: Path, preset: str, name: str, beside: Mapping[str, Any]
) -> None:
    from safetensors.torch import load_file

    path = write(tmp_path / name, preset, **beside)
    model = import_checkpoint(path, preset, "mine", PUBLISHED_LICENCES[preset], own_models)
    entry = find_model("mine")
    assert (entry.method, entry.preset, entry.licence) == ("lrm", preset, PUBLISHED_LICENCES[preset])
    assert entry.source_sha256 == sha256_of(path)
    assert verified_weights_path("mine", entry) == model.path
    torch.manual_seed(0)
    expected = {our_key(key, LAYOUTS[preset]): torch.randn(shape) for key, shape in SMALL[preset].items()}
    expected.pop(None, None)
    found = load_file(model.path)
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert model.surplus == ((POOLER[1],) if preset == "triposr" else ())
    assert model.ignored == tuple(beside)
    (known,) = [known for known in known_models() if known.name == "mine"]
    assert verify_model(known).text == f"hash ok, {len(found)} tensors fit the network"


def test_a_file_that_says_another_number_of_heads_is_refused(
    small_networks: None, own_models: Path, tmp_path: Path
) -> None:
    kwargs = {"model": {**KWARGS["model"], "transformer_heads": 12}, "infer": {"source_size": 224}}
    path = write(tmp_path / "model.pth", "openlrm-base-1.0", kwargs=kwargs)
    with pytest.raises(WeightsError, match="transformer_heads is 12, expected 16, source_size is 224, expected 336"):
        import_checkpoint(path, "openlrm-base-1.0", "mine", "none", own_models)
    assert not own_models.exists()


def test_weights_of_another_family_are_told_apart(small_networks: None, own_models: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "model.ckpt", "triposr")
    with pytest.raises(WeightsError, match=r"does not fit openlrm-base-1\.1, .* It fits triposr: use --as triposr"):
        import_checkpoint(path, "openlrm-base-1.1", "mine", "none", own_models)
    with pytest.raises(WeightsError, match=r"does not fit bevformer-base, .* It fits triposr"):
        import_checkpoint(path, "bevformer-base", "mine", "none", own_models)


@pytest.mark.parametrize("kept", [12, 60, -4])
def test_a_truncated_file_of_safetensors_is_refused(
    small_networks: None, own_models: Path, tmp_path: Path, kept: int
) -> None:
    path = write(tmp_path / "model.safetensors", "openlrm-base-1.1")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"model.safetensors: "):
        import_checkpoint(path, "openlrm-base-1.1", "mine", "none", own_models)
    assert not own_models.exists()


def test_an_unknown_lrm_preset_suggests_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"'openlrm-base-1\.2' is not a published configuration; did you mean"):
        check_preset({}, "openlrm-base-1.2")
    with pytest.raises(WeightsError, match="preset 'lift3d-lrm-tinny' is not known; did you mean 'lift3d-lrm-tiny'"):
        published.network_shapes("lift3d-lrm-tinny")
