"""Stated errors after calibration are as large as those that were found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from lfm_sets import write_sets
from lifting_files import flat_engine, write_set
from safetensors import safe_open
from safetensors.torch import load_file

from lift3d_ros.evaluation import skeleton_calibration
from lift3d_ros.evaluation.lifted_views import LiftedViews
from lift3d_ros.evaluation.skeleton_calibration import calibrate_weights, fit_spread
from lift3d_ros.evaluation.skeleton_files import FileChoice, read_skeleton_files
from lift3d_ros.evaluation.skeleton_lifting import CLEAN, Condition, evaluate_skeletons
from lift3d_ros.models.lfm.config import LfmConfig
from lift3d_ros.models.lfm.network import LfmNetwork
from lift3d_ros.models.lfm.spread import scaled_spread
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
from lift3d_ros.training.export import write_weights


def lifted_with(stated: np.ndarray, found: np.ndarray, tmp_path: Path) -> LiftedViews:  # type: ignore[type-arg]
    """Views whose errors and stated uncertainties are drawn, in sizes of the skeleton."""
    files, _ = read_skeleton_files(write_set(tmp_path / "bird.npz"), FileChoice(split="all"))
    result = evaluate_skeletons(flat_engine(), SkeletonLiftingConfig(), files, {}, [Condition(CLEAN, "clean")])
    views = result.files[0].clean[0]
    size = np.sqrt((views.views.joints**2).sum(axis=2).mean(axis=1))[:, None]
    shape = views.views.is_seen.shape
    rng = np.random.default_rng(0)
    # The same for all joints of a view: their mean is taken out of the errors.
    stated, found = (np.resize(values, (shape[0], 1)) * size * np.ones(shape) for values in (stated, found))
    return dataclasses.replace(
        views,
        predicted=views.views.joints + found[..., None] * rng.standard_normal((*shape, 3)),
        uncertainty=stated,
        probability=np.ones(shape[0]),
        is_lifted=np.ones(shape[0], dtype=bool),
    )


def test_a_power_law_is_found(tmp_path: Path) -> None:
    stated = np.exp(np.random.default_rng(1).uniform(-4.0, -1.5, 4001))
    fit = fit_spread([lifted_with(stated, 2.0 * stated**1.3, tmp_path)] * 2)
    assert fit is not None
    assert fit.factor == pytest.approx(2.0, rel=0.2)
    assert fit.exponent == pytest.approx(1.3, abs=0.06)


def test_too_few_views_say_nothing(tmp_path: Path) -> None:
    views = lifted_with(np.full(9, 0.1), np.full(9, 0.1), tmp_path)
    assert fit_spread([dataclasses.replace(views, probability=np.full(len(views.probability), 0.6))]) is None


def test_the_law_folds_into_the_last_layer() -> None:
    torch.manual_seed(0)
    network = LfmNetwork(LfmConfig(width=16, num_layers=1, num_heads=2)).eval()
    inputs = (
        torch.randn(2, 5, 2),
        torch.ones(2, 5, dtype=torch.bool),
        torch.ones(2, 5, dtype=torch.bool),
        torch.zeros(2, 5),
        torch.eye(5, dtype=torch.bool).roll(1, 0).repeat(2, 1, 1),
    )
    before = network(*inputs)
    network.load_state_dict(scaled_spread(network.state_dict(), 2.5, 1.2))
    after = network(*inputs)
    torch.testing.assert_close(after.spread, 2.5 * before.spread**1.2)
    torch.testing.assert_close(after.shape, before.shape, rtol=0, atol=0)


def test_weights_are_rewritten_with_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton_calibration, "_FEWEST_VALUES", 100)
    torch.manual_seed(0)
    network = LfmNetwork(LfmConfig(width=16, num_layers=1, num_heads=2))
    torch.nn.init.constant_(network.sign_head[-1].bias, 3000.0)  # no doubt about the mirror image
    path, data = tmp_path / "own.safetensors", [write_sets(tmp_path / "data")]
    network_facts = {"network.width": 16, "network.num_layers": 1, "network.num_heads": 2}
    facts = {"method": "lfm", "preset": "lift3d-lfm-small", "facts": json.dumps(network_facts), "step": "7"}
    write_weights(path, network.state_dict(), facts, is_half=False)
    before = load_file(path)
    assert calibrate_weights(path, data) is not None
    with safe_open(str(path), framework="pt") as file:
        assert file.metadata() == {"format": "pt", **facts}
    after = load_file(path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"shape_head.2.weight", "shape_head.2.bias"}
    assert torch.equal(before["shape_head.2.weight"][:3], after["shape_head.2.weight"][:3])
