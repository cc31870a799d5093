"""The compiled loop gives what the eager form gives, in value and gradient, with any number of threads."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.errors import EngineError  # noqa: E402
from lift3d_ros.ops import deformable_attention_3d as operator_module  # noqa: E402
from lift3d_ros.ops.deformable_attention_3d import choose_implementation, deformable_attention_3d  # noqa: E402


def random_inputs(
    *, batch: int = 2, rows: int | None = None, queries: int = 300, heads: int = 3, channels: int = 5, points: int = 4,
    bins: int = 6, levels: Any = ((5, 7), (3, 4)), scores: str = "shared",
) -> tuple[Any, ...]:  # fmt: skip
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Any:
        return torch.rand(*shape, generator=generator)

    size, rows = sum(h * w for h, w in levels), batch if rows is None else rows
    axes = 2 if scores == "none" else 3
    shapes = {"shared": (batch, size, bins), "of each head": (batch, size, heads, bins)}
    return (
        random(batch, size, heads, channels) - 0.5,
        None if scores == "none" else random(*shapes[scores]),
        random(rows, queries, heads, len(levels), points, axes) * 1.4 - 0.2,
        random(rows, queries, heads, len(levels), points),
        list(levels),
        torch.randint(0, batch, (rows, queries), generator=generator),
    )


def with_gradients(implementation: str, arguments: tuple[Any, ...], wanted: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    *tensors, levels, items = arguments
    tensors = [None if t is None else t.detach().clone().requires_grad_(i in wanted) for i, t in enumerate(tensors)]
    found = deformable_attention_3d(*tensors, levels, items, implementation)
    found.square().sum().backward()
    return [found, *(tensor.grad for tensor in tensors if tensor is not None)]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    pytest.importorskip("numba", reason="numba is not installed")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


CASES = [
    pytest.param({}, id="two levels"),
    pytest.param({"scores": "of each head"}, id="scores for each head"),
    pytest.param({"scores": "none"}, id="without depth"),
    pytest.param({"rows": 1, "batch": 5, "queries": 900}, id="ragged list over five items"),
    pytest.param({"rows": 1, "batch": 1, "heads": 8, "channels": 32, "queries": 900}, id="one item, many heads"),
    pytest.param({"levels": ((1, 1), (1, 6)), "bins": 1, "points": 1, "heads": 1, "channels": 1}, id="smallest sizes"),
]


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_those_of_the_eager_form(case: dict[str, Any], num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    arguments = random_inputs(**case)
    found, expected = (with_gradients(name, arguments) for name in ("numba", "embedding_bag"))
    for mine, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-5 * float(reference.detach().abs().max()), rtol=1e-5)


def test_threads_do_not_change_a_bit_of_the_result() -> None:
    arguments = random_inputs(queries=3000)
    results = []
    for num_threads in (1, 4):
        torch.set_num_threads(num_threads)
        results.append(deformable_attention_3d(*arguments[:5], arguments[5], "numba"))
    assert torch.equal(*results)


def test_threads_do_not_lose_gradients_that_meet_in_one_score() -> None:
    arguments = random_inputs(batch=1, queries=20_000, heads=8, levels=((1, 1),), bins=1)
    totals = []
    for num_threads in (1, 4):
        torch.set_num_threads(num_threads)
        totals.append(with_gradients("numba", arguments)[2])
    torch.testing.assert_close(*totals, atol=0, rtol=1e-3)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,)])
def test_only_the_gradients_that_are_asked_for_are_made(wanted: tuple[int, ...]) -> None:
    arguments = random_inputs()
    found, expected = (with_gradients(name, arguments, wanted) for name in ("numba", "embedding_bag"))
    for index, (mine, reference) in enumerate(zip(found[1:], expected[1:], strict=True)):
        assert (mine is not None) == (index in wanted)
        if mine is not None:
            torch.testing.assert_close(mine, reference, atol=1e-5 * float(reference.detach().abs().max()), rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_points_that_are_nowhere_contribute_zero_and_get_zero_gradients(bad: float) -> None:
    value, scores, locations, weights, levels, items = random_inputs()
    locations[..., 0, 1] = bad
    found = with_gradients("numba", (value, scores, locations, weights, levels, items))
    assert all(torch.isfinite(tensor).all() for tensor in found)
    assert (found[3][..., 0, :] == 0).all()
    assert (found[4][..., 0] == 0).all()
    rest = with_gradients("numba", (value, scores, locations[..., 1:, :], weights[..., 1:], levels, items))
    torch.testing.assert_close(found[0], rest[0])


def test_arguments_need_not_be_contiguous() -> None:
    value, scores, locations, weights, levels, items = random_inputs()
    expected = deformable_attention_3d(value, scores, locations, weights, levels, items, "numba")
    turned = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in (value, scores, locations, weights)]
    assert torch.equal(deformable_attention_3d(*turned, levels, items, "numba"), expected)


def test_auto_takes_it_for_float32_on_a_cpu_and_for_nothing_else() -> None:
    value, scores, locations, weights, _, items = random_inputs()
    assert choose_implementation(value, scores, locations, weights, items) == "numba"
    assert choose_implementation(value, None, locations[..., :2], weights) == "numba"
    assert choose_implementation(value.half(), scores, locations, weights) == "embedding_bag"
    assert choose_implementation(value, scores, locations.double(), weights) == "embedding_bag"
    with torch._subclasses.FakeTensorMode() as fake:
        fakes = [fake.from_tensor(tensor) for tensor in (value, scores, locations, weights)]
        assert choose_implementation(*fakes) == "embedding_bag"
    with pytest.raises(ValueError, match="only float32 tensors on a CPU"):
        deformable_attention_3d(value.double(), scores, locations, weights, [(5, 7), (3, 4)], items, "numba")


def test_without_numba_auto_takes_the_eager_form_and_asking_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "_has_numba", lambda: False)
    arguments = random_inputs()
    assert choose_implementation(*arguments[:4], arguments[5]) == "embedding_bag"
    expected = deformable_attention_3d(*arguments[:5], arguments[5], "embedding_bag")
    assert torch.equal(deformable_attention_3d(*arguments[:5], arguments[5]), expected)
    with pytest.raises(EngineError, match="'pip install numba'"):
        deformable_attention_3d(*arguments[:5], arguments[5], "numba")


def test_a_forked_process_can_use_it_after_its_parent_did() -> None:
    torch.set_num_threads(2)
    arguments = random_inputs(queries=3000)

    def total() -> float:
        # Summed by numpy: torch itself cannot use several threads in a forked process.
        return float(deformable_attention_3d(*arguments[:5], arguments[5], "numba").numpy().sum())

    expected = total()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(total()))
    child.start()
    try:
        assert receiver.poll(60), "the child did not answer: it waits for threads of its parent"
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()
