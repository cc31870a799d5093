"""Losses of the lifter: nothing to lose with the true shape, the sign learns which mirror image was seen."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from lfm_sets import small_sets

from lift3d_ros.models.lfm.network import LfmOutput
from lift3d_ros.training.lfm.batches import validation_batch
from lift3d_ros.training.lfm.loss import lifting_losses
from lift3d_ros.training.lfm.settings import LfmLossSettings

BATCH = validation_batch(small_sets()[0], 0, 0)
MIRROR = torch.tensor([1.0, 1.0, -1.0])


def _output(shape: torch.Tensor, logit: float = 0.0, spread: float = 0.1) -> LfmOutput:
    size = shape.shape[:2]
    return LfmOutput(shape, torch.full((size[0],), logit, requires_grad=True), torch.full(size, spread))


def test_the_true_shape_in_any_frame_has_no_shape_loss() -> None:
    turn, _ = torch.linalg.qr(torch.randn(3, 3))
    turn = turn * torch.linalg.det(turn).sign()
    for alignment in ("proper", "either"):
        losses = lifting_losses(_output(2.0 * BATCH.target @ turn), BATCH, LfmLossSettings(alignment=alignment))
        assert losses["loss_shape"] < 1e-4


def test_a_mirrored_shape_is_only_right_where_either_image_is() -> None:
    output = _output(BATCH.target * MIRROR)
    assert lifting_losses(output, BATCH, LfmLossSettings(alignment="either"))["loss_shape"] < 1e-4
    assert lifting_losses(output, BATCH, LfmLossSettings(alignment="proper"))["loss_shape"] > 0.1


@pytest.mark.parametrize(("mirror", "sign"), [(torch.ones(3), 1), (MIRROR, -1)])
def test_the_sign_learns_whether_the_shape_is_mirrored(mirror: torch.Tensor, sign: int) -> None:
    output = _output(BATCH.target * mirror)
    lifting_losses(output, BATCH, LfmLossSettings(alignment="either"))["loss_sign"].backward()
    assert output.sign_logit.grad is not None
    assert (-output.sign_logit.grad * sign > 0).all()


def test_the_sign_is_learned_with_sides_too() -> None:
    for mirror, sign in ((torch.ones(3), 1), (MIRROR, -1)):
        output = _output(BATCH.target * mirror)
        lifting_losses(output, BATCH, LfmLossSettings(alignment="sides"))["loss_sign"].backward()
        assert output.sign_logit.grad is not None
        assert (-output.sign_logit.grad * sign > 0).all()


def test_without_procrustes_the_axes_are_those_of_the_camera() -> None:
    settings = LfmLossSettings(alignment="proper", has_procrustes=False)
    turned = BATCH.target @ torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert lifting_losses(_output(3.0 * BATCH.target), BATCH, settings)["loss_shape"] < 1e-4
    assert lifting_losses(_output(turned), BATCH, settings)["loss_shape"] > 0.1


def test_the_expected_error_is_best_where_it_is_the_error() -> None:
    shape = BATCH.target + 0.2 * torch.nn.functional.normalize(torch.randn_like(BATCH.target), dim=-1)
    losses = {
        s: float(lifting_losses(_output(shape, 0.0, s), BATCH, LfmLossSettings())["loss_spread"])
        for s in (0.05, 0.2, 0.8)
    }
    assert losses[0.2] < losses[0.05]
    assert losses[0.2] < losses[0.8]


def test_with_known_sides_only_the_shape_itself_is_right() -> None:
    output, settings = _output(BATCH.target * MIRROR), LfmLossSettings(alignment="sides")
    assert lifting_losses(output, BATCH, settings)["loss_shape"] > 0.1
    unknown = BATCH._replace(side=torch.zeros_like(BATCH.side))
    assert lifting_losses(output, unknown, settings)["loss_shape"] < 1e-4


def test_an_instance_that_is_nearly_flat_counts_by_its_ratio_to_the_flat_guess() -> None:
    truth = BATCH._replace(target=BATCH.target * torch.tensor([1.0, 1.0, 0.25]))
    depth = torch.tensor([1.0, 1.0, 0.5])

    def ratio(relative: float) -> float:
        """Return the loss of half the depth in the nearly flat batch, in that of the batch as it is."""
        settings = LfmLossSettings(alignment="either", relative=relative)
        flat, full = (
            float(lifting_losses(_output(batch.target * depth), batch, settings)["loss_shape"])
            for batch in (truth, BATCH)
        )
        return flat / full

    assert ratio(0.0) < 0.3
    assert ratio(0.0) < ratio(0.5) < ratio(1.0)
    assert ratio(1.0) > 0.6
