"""Targets of a batch are padded as torch pads them."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pad_sequence  # noqa: E402

from lift3d_ros.models.dfa3d.on_device import constant, pad_targets  # noqa: E402


@pytest.mark.parametrize("counts", [(2, 0, 5), (3,), (0, 0), (0, 1)])
def test_samples_are_padded_to_the_largest(counts: tuple[int, ...]) -> None:
    codes = [torch.randn(count, 10) for count in counts]
    labels = [torch.randint(1, 9, (count,)) for count in counts]
    expected = pad_sequence(codes, batch_first=True, padding_value=math.nan)
    assert torch.equal(pad_targets(codes, math.nan).nan_to_num(7.0), expected.nan_to_num(7.0))
    found = pad_targets(labels, 0)
    assert found.dtype == torch.int64
    assert torch.equal(found, pad_sequence(labels, batch_first=True))


def test_what_is_kept_in_a_validation_serves_in_training() -> None:
    with torch.inference_mode():
        kept = constant((0.125, 3.0), torch.device("cpu"))
        pad_targets([torch.zeros(11, 2), torch.zeros(3, 2)], 0.0)
    numbers = torch.ones(2, requires_grad=True)
    (numbers * kept).sum().backward()
    assert numbers.grad is not None
    assert numbers.grad.tolist() == [0.125, 3.0]
    rows = torch.ones(11, 2, requires_grad=True)
    pad_targets([rows, torch.zeros(3, 2)], 0.0).sum().backward()
    assert rows.grad is not None
    assert float(rows.grad.sum()) == 22.0
