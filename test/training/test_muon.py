"""Muon: updates with equal singular values of the promised size, and a state that can be stored."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("torch")

import torch

from lift3d_ros.training.muon import MuonAdamW


def _parameters() -> tuple[torch.nn.Parameter, torch.nn.Parameter, torch.nn.Parameter]:
    torch.manual_seed(0)
    return tuple(torch.nn.Parameter(torch.randn(*shape)) for shape in ((12, 6), (6, 12), (5,)))  # type: ignore[return-value]


def _optimizer(parameters: tuple[torch.nn.Parameter, ...], rate: float = 0.1) -> MuonAdamW:
    return MuonAdamW(
        [
            {"params": list(parameters[:2]), "lr": rate, "is_muon": True, "weight_decay": 0.0},
            {"params": [parameters[2]], "lr": rate, "is_muon": False, "weight_decay": 0.0},
        ]
    )


def test_an_update_of_a_matrix_has_about_equal_singular_values() -> None:
    parameters = _parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    _optimizer(parameters).step()
    for parameter, old in zip(parameters[:2], before[:2], strict=True):
        sizes = torch.linalg.svdvals(old - parameter.detach()) / (0.1 * 0.2 * 12**0.5)
        assert 0.6 < sizes.min() < sizes.max() < 1.3


def test_the_rest_is_updated_as_by_adamw() -> None:
    first, second = _parameters()[2], _parameters()[2]
    ours = MuonAdamW([{"params": [first], "lr": 0.01, "weight_decay": 0.1}])
    theirs = torch.optim.AdamW([second], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(5):
        for parameter in (first, second):
            parameter.grad = 2 * parameter.detach() + 1
        ours.step()
        theirs.step()
    torch.testing.assert_close(first, second)


def test_a_stored_state_goes_on_the_same() -> None:
    one, other = _parameters(), _parameters()
    first = _optimizer(one)
    for parameter in one:
        parameter.grad = torch.ones_like(parameter)
    first.step()
    for parameter, source in zip(other, one, strict=True):
        parameter.data.copy_(source.data)
    second = _optimizer(other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for optimizer, parameters in ((first, one), (second, other)):
        for parameter in parameters:
            parameter.grad = 0.5 * torch.ones_like(parameter)
        optimizer.step()
    for parameter, source in zip(other, one, strict=True):
        torch.testing.assert_close(parameter, source)
