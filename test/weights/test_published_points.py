"""Published checkpoints of I2P-MAE and Point-M2AE: every weight has its place, whatever they are wrapped in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.errors import WeightsError  # noqa: E402
from lift3d_ros.models.i2p_mae.build import build  # noqa: E402
from lift3d_ros.models.i2p_mae.config import EncoderConfig, I2pMaeConfig, TokenConfig, preset  # noqa: E402
from lift3d_ros.models.i2p_mae.published_keys import our_key, published_key  # noqa: E402
from lift3d_ros.models.i2p_mae.start import load_encoder, load_start  # noqa: E402
from lift3d_ros.weights.checkpoint import read_checkpoint  # noqa: E402
from lift3d_ros.weights.importing import import_checkpoint  # noqa: E402
from lift3d_ros.weights.published import check_preset, fitting_presets, network_shapes  # noqa: E402

Shapes = Mapping[str, tuple[int, ...]]

# Preset, key table, part of the table.
TABLES = [
    ("i2p-mae", "i2p_mae_keys_pretrain", ""),
    ("i2p-mae-pretrain", "i2p_mae_keys_pretrain", ""),
    ("i2p-mae-modelnet40", "i2p_mae_keys_classification", "modelnet40"),
    ("i2p-mae-scanobjectnn", "i2p_mae_keys_classification", "scanobjectnn"),
    ("i2p-mae-scanobjectnn-hardest", "i2p_mae_keys_classification", "scanobjectnn"),
    ("point-m2ae", "point_m2ae_keys_pretrain", ""),
    ("point-m2ae-pretrain", "point_m2ae_keys_pretrain", ""),
    ("point-m2ae-modelnet40", "point_m2ae_keys_classification", "modelnet40"),
    ("point-m2ae-scanobjectnn", "point_m2ae_keys_classification", "scanobjectnn"),
    ("point-m2ae-shapenetpart", "point_m2ae_keys_partseg", ""),
    ("point-m2ae-shapenetpart", "i2p_mae_keys_partseg", ""),
]
# Parameters as published (fact sheet, section 2), the teacher's apart.
PARAMETERS = {
    "i2p-mae": 12.65e6,
    "i2p-mae-pretrain": 17.62e6,
    "i2p-mae-modelnet40": 12_830_056,
    "i2p-mae-scanobjectnn": 12_921_935,
    "point-m2ae-pretrain": 15_255_856,
    "point-m2ae-shapenetpart": 25_474_354,
}


@pytest.fixture
def points_table(shared_dir: Path) -> Callable[[str, str], Shapes]:
    def read(table: str, part: str) -> Shapes:
        keys = json.loads((shared_dir / "reference" / f"{table}.json").read_text())["keys"]
        return {name: tuple(shape) for name, (shape, _) in (keys[part] if part else keys).items()}

    return read


@pytest.mark.parametrize(("name", "table", "part"), TABLES)
def test_every_published_weight_has_its_place(
    name: str, table: str, part: str, points_table: Callable[[str, str], Shapes]
) -> None:
    found = points_table(table, part)
    report = check_preset(found, name)
    assert report.fits, report.describe()
    assert len(report.matches) == report.num_expected
    assert len(report.matches) + len(report.surplus) == len(found)
    left_out = {key for key in report.surplus if not key.startswith("clip_model.")}
    is_plain_encoder = name in ("i2p-mae", "point-m2ae")
    assert bool(left_out) == is_plain_encoder
    assert not any(key.startswith("h_encoder.") for key in left_out)


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_networks_have_the_published_number_of_parameters(name: str, expected: float) -> None:
    config = preset(name)
    assert config is not None
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in build(config).parameters())
    assert found == pytest.approx(expected, abs=0 if isinstance(expected, int) else 0.006e6)


def test_our_names_of_published_weights_turn_back(points_table: Callable[[str, str], Shapes]) -> None:
    for _, table, part in TABLES:
        for name in points_table(table, part):
            ours = our_key(name)
            if name.startswith("clip_model."):
                assert ours is None
            else:
                assert ours is not None
                assert published_key(ours) == name.replace("rec_head.", "rec_head_3d.")


def test_a_checkpoint_without_a_weight_of_the_encoder_is_refused_and_told_what_is_missing() -> None:
    prefixed = {f"backbone.{name}": shape for name, shape in network_shapes("i2p-mae").items()}
    report = check_preset(prefixed, "i2p-mae")
    assert not report.fits
    assert report.describe().startswith(f"0 of {report.num_expected} weights fit.")
    assert "h_encoder.token_embed (54)" in report.describe()


def test_classifiers_of_both_methods_cannot_be_told_apart_and_are_named() -> None:
    shapes = {published_key(name) or name: shape for name, shape in network_shapes("i2p-mae-modelnet40").items()}
    assert fitting_presets(shapes) == ("i2p-mae-modelnet40", "point-m2ae-modelnet40")


@pytest.mark.parametrize("holder", ["base_model", "model_state_dict"])
def test_weights_are_found_under_the_names_of_the_published_training(tmp_path: Path, holder: str) -> None:
    state = {"module.h_encoder.token_embed.0.first_conv.0.bias": torch.rand(4)}
    torch.save({holder: state, "epoch": 300, "metrics": {"acc": 93.4}}, tmp_path / "ckpt.pth")
    found = read_checkpoint(tmp_path / "ckpt.pth")
    assert list(found.tensors) == ["h_encoder.token_embed.0.first_conv.0.bias"]
    assert found.ignored == ("epoch", "metrics")


def test_a_published_pretraining_imports_as_an_encoder_without_decoder_and_teacher(
    tmp_path: Path, own_models: Path
) -> None:
    from safetensors.torch import load_file

    shapes = {published_key(name) or name: shape for name, shape in network_shapes("i2p-mae-pretrain").items()}
    state = {f"module.{name}": values(name, shape) for name, shape in shapes.items()}
    state["module.clip_model.logit_scale"] = torch.tensor(4.6)
    torch.save({"base_model": state, "epoch": 300}, tmp_path / "ckpt-best.pth")
    model = import_checkpoint(tmp_path / "ckpt-best.pth", "i2p-mae", "points", "unknown", own_models)
    assert (model.entry.method, model.entry.preset) == ("i2p_mae", "i2p-mae")
    assert set(load_file(model.path)) == set(network_shapes("i2p-mae"))
    assert {"clip_model.logit_scale", "mask_token", "rec_head_2d.weight"} <= set(model.surplus)
    assert set(model.also_fits) == {"i2p-mae-pretrain", "point-m2ae"}


def values(name: str, shape: tuple[int, ...]) -> Any:
    dtype = torch.int64 if name.endswith("num_batches_tracked") else torch.float32
    return torch.zeros((), dtype=dtype).expand(shape)


SMALL = I2pMaeConfig(
    tokens=TokenConfig((8, 4), (4, 2)),
    encoder=EncoderConfig(dims=(12, 24), depths=(1, 1), num_heads=2, local_radii=(0.0, 0.0), embedding_dims=(4, 8, 8)),
)


def small(head: Any, **encoder: Any) -> Any:
    from dataclasses import replace

    decoder = replace(SMALL.reconstruction, dims=(24, 12), teacher_dims=4)
    return build(replace(SMALL, head=head, encoder=replace(SMALL.encoder, **encoder), reconstruction=decoder))


def test_a_classifier_starts_from_the_whole_encoder_of_a_pretraining_and_says_what_it_left() -> None:
    pretrained, classifier = small("reconstruction").state_dict(), small("classification", has_norms=False)
    start = load_encoder(classifier, pretrained, "pretrained.safetensors")
    for name, tensor in classifier.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, pretrained[name])
    assert set(start.loaded) == {name for name in classifier.state_dict() if name.startswith("encoder.")}
    assert {"encoder.norms.0.weight", "decoder.mask_token"} <= set(start.left_out)
    assert all(name.startswith("head.") for name in start.fresh)


def test_a_pretraining_goes_on_from_a_whole_network_and_from_the_encoder_of_another() -> None:
    given, network = small("reconstruction").state_dict(), small("reconstruction")
    start = load_start(network, given, "weights.safetensors")
    assert all(torch.equal(tensor, given[name]) for name, tensor in network.state_dict().items())
    assert (set(start.loaded), start.left_out, start.fresh) == (set(given), (), ())
    start = load_start(small("reconstruction"), small("none").state_dict(), "encoder.safetensors")
    assert all(name.startswith("encoder.") for name in start.loaded)
    assert "decoder.mask_token" in start.fresh


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
            r"w\.pth: none of its \d+ weights belongs to the encoder \(for example module\.encoder",
            id="nothing matches",
        ),
        pytest.param(
            lambda state: {name: tensor for name, tensor in state.items() if "stacks.1" not in name},
            r"11 weights of the encoder are missing: encoder\.stacks\.1",
            id="a scale is missing",
        ),
        pytest.param(
            lambda state: {**state, "encoder.stacks.0.blocks.1.norm1.bias": torch.zeros(12)},
            r"1 weights of the encoder have no place: encoder\.stacks\.0\.blocks\.1",
            id="a deeper encoder",
        ),
        pytest.param(
            lambda state: {**state, "encoder.norms.0.bias": torch.zeros(13)},
            r"have another shape: encoder\.norms\.0\.bias: found \[13\], expected \[12\]",
            id="a wider encoder",
        ),
    ],
)
def test_an_encoder_that_does_not_match_is_refused_and_nothing_is_loaded(change: Any, message: str) -> None:
    network = small("none")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_encoder(network, change(small("none").state_dict()), "w.pth")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
