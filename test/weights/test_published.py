"""Weights of a checkpoint are compared with a network by name and shape, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lift3d_ros.errors import WeightsError
from lift3d_ros.models.dfa3d.published_keys import our_key, published_key
from lift3d_ros.weights.published import (
    METHODS,
    PUBLISHED_LICENCES,
    check_preset,
    check_state,
    fitting_presets,
    network_shapes,
)

Shapes = Mapping[str, tuple[int, ...]]
DETECTORS = [name for name in PUBLISHED_LICENCES if METHODS[name] == "dfa3d"]
FOUND = {
    "img_backbone.conv1.weight": (64, 3, 7, 7),
    "pts_bbox_head.code_weights": (10,),
    "pts_bbox_head.transformer.level_embeds": (4, 256),
    "pts_dpt_head.depth_conv.5.bias": (24,),
}
EXPECTED = {"backbone.conv1.weight": (64, 3, 7, 7), "level_embedding": (4, 256), "depth_head.depth_conv.5.bias": (24,)}


def test_weights_that_fit_are_matched_and_those_of_the_loss_left_out() -> None:
    report = check_state(FOUND, EXPECTED, has_depth_head=True)
    assert report.fits
    assert report.matches == {our_key(name): name for name in FOUND if "code_weights" not in name}
    assert report.surplus == ("pts_bbox_head.code_weights",)
    assert report.describe() == "3 of 3 weights fit."


def test_the_depth_head_is_left_out_where_depth_is_measured() -> None:
    expected = {name: shape for name, shape in EXPECTED.items() if "depth" not in name}
    assert check_state(FOUND, expected, has_depth_head=False).surplus[-1] == "pts_dpt_head.depth_conv.5.bias"
    assert check_state(FOUND, expected, has_depth_head=True).unexpected == ("pts_dpt_head.depth_conv.5.bias",)


def test_missing_unexpected_and_misshaped_weights_are_named_as_published() -> None:
    found = {**FOUND, "pts_bbox_head.transformer.level_embeds": (1, 256), "img_backbone.fc.weight": (10, 2048)}
    del found["img_backbone.conv1.weight"]
    report = check_state({**found, "ema_hook": (1,)}, EXPECTED, has_depth_head=True)
    assert not report.fits
    assert report.missing == ("img_backbone.conv1.weight",)
    assert report.unexpected == ("img_backbone.fc.weight", "ema_hook")
    assert report.wrong_shapes == (("pts_bbox_head.transformer.level_embeds", (1, 256), (4, 256)),)
    text = report.describe()
    assert text.startswith("1 of 3 weights fit.")
    assert "missing: 1, in img_backbone.conv1 (1)\n    img_backbone.conv1.weight" in text
    assert "unexpected: 2, in" in text
    assert "of another shape: 1" in text
    assert "level_embeds: found [1, 256], expected [4, 256]" in text


def test_a_report_of_thousands_of_weights_stays_readable() -> None:
    found = {f"a{i}.{'x' * 500}.weight": (1,) * 60 for i in range(3000)}
    found |= {f"img_backbone.layer{i}.\x1b[2J": (1,) for i in range(3000)}
    text = check_state(found, {f"backbone.layer{i}.weight": (1,) for i in range(3000)}, has_depth_head=True).describe()
    assert "missing: 3000" in text
    assert "unexpected: 6000" in text
    assert ", and 2994 more\n" in text
    assert "and 5994 more" in text
    assert len(text.splitlines()) < 20
    assert len(text) < 5000
    assert "\x1b" not in text


def test_our_names_of_published_weights_turn_back(key_table: Callable[[str], Shapes]) -> None:
    for preset in DETECTORS:
        for name in key_table(preset):
            ours = our_key(name)
            assert ours is None or published_key(ours) == name
    assert published_key("no_published_detector.has_this") is None


@pytest.mark.parametrize("preset", DETECTORS)
def test_every_published_key_table_fits_its_network_completely(preset: str, key_table: Callable[[str], Shapes]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    report = check_preset(key_table(preset), preset)
    assert report.fits, report.describe()
    assert report.num_expected == len(report.matches)
    assert "pts_bbox_head.code_weights" in report.surplus
    assert all(name.startswith("pts_dpt_head.") for name in report.surplus[1:])
    assert len(report.surplus) == (1 if preset != "dfa3d-base-gtdepth" else len(report.surplus))


def test_the_configurations_that_weights_fit_are_found() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    shapes = {published_key(name) or name: shape for name, shape in network_shapes("bevformer-small").items()}
    assert fitting_presets(shapes) == ("bevformer-small",)
    assert fitting_presets({}) == ()


def test_an_unknown_configuration_suggests_the_nearest() -> None:
    with pytest.raises(WeightsError, match="'dfa3d-smal' is not a published configuration; did you mean 'dfa3d-small'"):
        check_preset({}, "dfa3d-smal")
    with pytest.raises(WeightsError, match="'tiny' is not a published configuration"):
        check_preset({}, "tiny")
