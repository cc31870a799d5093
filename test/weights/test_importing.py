"""A published checkpoint becomes a model, or a sentence that says why not; never half of one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lift3d_ros.errors import WeightsError
from lift3d_ros.weights import importing, published
from lift3d_ros.weights.importing import ImportedModel, import_checkpoint
from lift3d_ros.weights.manifest import find_model, verified_weights_path

torch = pytest.importorskip("torch", reason="torch is not installed")

Shapes = dict[str, tuple[int, ...]]
SHAPES: Shapes = {
    "img_backbone.conv1.weight": (4, 3, 7, 7),
    "img_backbone.bn1.num_batches_tracked": (),
    "pts_bbox_head.transformer.level_embeds": (4, 8),
    "pts_bbox_head.code_weights": (10,),
}


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of three weights in place of those of the published configurations."""

    def shapes(preset: str) -> Mapping[str, tuple[int, ...]]:
        levels = 1 if preset == "bevformer-tiny" else 4
        return {
            "backbone.conv1.weight": (4, 3, 7, 7),
            "backbone.bn1.num_batches_tracked": (),
            "level_embedding": (levels, 8),
        }

    monkeypatch.setattr(published, "network_shapes", shapes)


def run(checkpoint: Path, folder: Path, preset: str = "bevformer-base", **options: bool) -> ImportedModel:
    return import_checkpoint(checkpoint, preset, "mine", "non-commercial", folder, **options)


def test_values_arrive_unchanged_and_as_float32(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    from safetensors.torch import load_file

    values = {
        "img_backbone.conv1.weight": torch.randn(4, 3, 7, 7).half(),
        "img_backbone.bn1.num_batches_tracked": torch.tensor(2**40),
        "pts_bbox_head.transformer.level_embeds": torch.randn(8, 4, dtype=torch.float64).T,
    }
    checkpoint = write_checkpoint(SHAPES, values)
    model = run(checkpoint, own_models)
    loaded = load_file(model.path)
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {
        "backbone.conv1.weight": torch.float32,
        "backbone.bn1.num_batches_tracked": torch.int64,
        "level_embedding": torch.float32,
    }
    for ours, name in zip(sorted(loaded), sorted(values), strict=True):
        assert torch.equal(loaded[ours], values[name].to(loaded[ours].dtype)), ours
    assert (model.num_tensors, model.num_values) == (3, 4 * 3 * 49 + 1 + 32)
    assert model.surplus == ("pts_bbox_head.code_weights",)
    assert model.ignored == ("meta",)


def test_the_manifest_says_where_the_weights_come_from(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = write_checkpoint(SHAPES)
    model = run(checkpoint, own_models)
    entry = find_model("mine")
    assert entry == model.entry
    assert (entry.method, entry.preset, entry.licence) == ("dfa3d", "bevformer-base", "non-commercial")
    assert (entry.source, entry.source_sha256) == (
        "published.pth",
        hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    )
    assert verified_weights_path("mine", entry) == model.path


def test_the_same_checkpoint_gives_the_same_bytes(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = write_checkpoint(SHAPES)
    first = run(checkpoint, own_models).entry
    assert run(checkpoint, own_models, overwrite=True).entry == first


def test_a_checkpoint_that_does_not_fit_writes_nothing_and_names_what_is_wrong(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    shapes = {**SHAPES, "img_backbone.conv1.weight": (4, 3, 3, 3), "img_backbone.fc.bias": (10,)}
    del shapes["img_backbone.bn1.num_batches_tracked"]
    with pytest.raises(WeightsError) as caught:
        run(write_checkpoint(shapes), own_models)
    text = str(caught.value)
    assert "published.pth: does not fit bevformer-base, nothing was written. It fits none" in text
    assert "missing: 1" in text
    assert "img_backbone.bn1.num_batches_tracked" in text
    assert "img_backbone.fc.bias" in text
    assert "img_backbone.conv1.weight: found [4, 3, 3, 3], expected [4, 3, 7, 7]" in text
    assert not own_models.exists()


def test_a_checkpoint_of_another_configuration_is_told_which(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = write_checkpoint({**SHAPES, "pts_bbox_head.transformer.level_embeds": (1, 8)})
    with pytest.raises(WeightsError, match="It fits bevformer-tiny: use --as bevformer-tiny"):
        run(checkpoint, own_models)
    model = run(checkpoint, own_models, "bevformer-tiny")
    assert model.entry.preset == "bevformer-tiny"
    assert model.also_fits == ()


def test_configurations_that_cannot_be_told_apart_are_named(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = write_checkpoint(SHAPES)
    with pytest.raises(WeightsError, match=r"It fits dfa3d-small and .*: use --as with the one"):
        run(checkpoint, own_models, "bevformer-tiny")
    assert "dfa3d-base-gtdepth" in run(checkpoint, own_models).also_fits


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path], value: float
) -> None:
    damaged = torch.zeros(4, 8)
    damaged[2, 3] = value
    checkpoint = write_checkpoint(SHAPES, {"pts_bbox_head.transformer.level_embeds": damaged})
    with pytest.raises(WeightsError, match=r"1 of 3 weights hold values .* pts_bbox_head.transformer.level_embeds\."):
        run(checkpoint, own_models)
    assert not own_models.exists()


def test_weights_too_large_for_float32_are_named(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    values = {"pts_bbox_head.transformer.level_embeds": torch.full((4, 8), 1e300, dtype=torch.float64)}
    with pytest.raises(WeightsError, match="1 of 3 weights hold values that are not finite"):
        run(write_checkpoint(SHAPES, values), own_models)


def test_a_shape_beyond_memory_is_a_wrong_shape(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = write_checkpoint({**SHAPES, "pts_bbox_head.transformer.level_embeds": (10**9, 10**6)})
    with pytest.raises(WeightsError, match=r"level_embeds: found \[1000000000, 1000000\], expected \[4, 8\]"):
        run(checkpoint, own_models)


def test_a_taken_name_is_told_before_the_checkpoint_is_read(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    run(write_checkpoint(SHAPES), own_models)
    with pytest.raises(WeightsError, match="has a model 'mine' already"):
        run(tmp_path / "absent.pth", own_models)


def test_progress_counts_up_to_the_sizes_that_were_announced(
    small_network: None, own_models: Path, write_checkpoint: Callable[..., Path]
) -> None:
    done: dict[str, int] = {}
    totals: dict[str, int] = {}

    def on_progress(stage: str, count: int, total: int) -> None:
        done[stage] = done.get(stage, 0) + count
        totals[stage] = total

    checkpoint = write_checkpoint(SHAPES, {"pts_bbox_head.transformer.level_embeds": torch.zeros(4, 8)})
    import_checkpoint(checkpoint, "bevformer-base", "mine", "none", own_models, on_progress=on_progress)
    assert list(done) == ["reading", "checking", "hashing", "writing"]
    assert done["hashing"] == totals["hashing"] == checkpoint.stat().st_size
    assert 0 < done["reading"] <= totals["reading"]
    assert done["writing"] >= totals["writing"]


def test_without_torch_the_remedy_is_named(own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(WeightsError, match=r"needs torch, not installed .*'pip install torch'"):
        run(tmp_path / "published.pth", own_models)
