"""The operator equals trilinear sampling of the product volume, in value and gradient, and never yields NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench.operator import peak_bytes  # noqa: E402
from lift3d_ros.bench.operator_cases import CASES as SIZES  # noqa: E402
from lift3d_ros.bench.reference_forms import (  # noqa: E402
    four_nearest_attention,
    product_volume_attention,
    product_volume_bytes,
)
from lift3d_ros.ops.deformable_attention_3d import (  # noqa: E402
    choose_implementation,
    corner_weighted_attention,
    deformable_attention_3d,
    sample_depth_scores,
)

EAGER = ["embedding_bag", "gather"]


def inputs(
    seed: int = 0, *, batch: int = 2, queries: int = 7, heads: int = 3, channels: int = 5, points: int = 4,
    bins: int = 6, levels: Any = ((5, 7), (3, 4)), shared: bool = True,
) -> tuple[Any, ...]:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Any:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    size = sum(h * w for h, w in levels)
    value = random(batch, size, heads, channels) - 0.5
    scores = random(batch, size, bins) if shared else random(batch, size, heads, bins)
    locations = random(batch, queries, heads, len(levels), points, 3) * 1.4 - 0.2
    weights = random(batch, queries, heads, len(levels), points)
    return value, scores, locations, weights, list(levels)


def ragged_inputs(seed: int = 0, **sizes: Any) -> tuple[Any, ...]:
    """Three batch items, and a list of queries that read them in no order, some of them twice."""
    value, scores, _, _, levels = inputs(seed, batch=3, **sizes)
    _, _, locations, weights, _ = inputs(seed + 1, batch=1, queries=8, **sizes)
    items = torch.tensor([[2, 0, 0, 2, 1, 2, 0, 2]])
    return value, scores, locations, weights, levels, items


CASES = [
    pytest.param({}, id="two levels"),
    pytest.param({"shared": False}, id="scores for each head"),
    pytest.param({"levels": ((1, 1),), "points": 1}, id="one pixel, one point"),
    pytest.param({"bins": 1}, id="one bin"),
    pytest.param({"batch": 1, "heads": 1, "channels": 1}, id="single head and channel"),
    pytest.param({"levels": ((6, 3), (1, 5), (2, 1), (1, 1))}, id="four levels, some of one row or column"),
]


@pytest.mark.parametrize("implementation", EAGER)
@pytest.mark.parametrize("case", CASES)
def test_equals_trilinear_sampling_of_the_product_volume(case: dict[str, Any], implementation: Any) -> None:
    arguments = inputs(**case)
    found = deformable_attention_3d(*arguments, implementation=implementation)
    torch.testing.assert_close(found, product_volume_attention(*arguments), atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found, four_nearest_attention(*arguments), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("implementation", EAGER)
def test_exact_borders_are_where_trilinear_sampling_has_them(implementation: Any) -> None:
    levels, bins = [(4, 5), (2, 3)], 4
    value, scores, _, _, _ = inputs(levels=levels, bins=bins, batch=1, heads=1)
    cells = torch.tensor([-1.0, -0.75, -0.5, 0.0, 0.25, 1.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0], dtype=torch.float64)
    grid = torch.cartesian_prod((cells + 0.5) / 5, (cells + 0.5) / 4, (cells + 0.5) / bins)
    locations = grid[:, None, None, None].expand(-1, 1, len(levels), 1, 3)[None]
    weights = torch.ones(locations.shape[:-1], dtype=torch.float64)
    found = deformable_attention_3d(value, scores, locations, weights, levels, implementation=implementation)
    expected = product_volume_attention(value, scores, locations, weights, levels)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)


def test_differs_from_the_product_of_two_interpolations() -> None:
    value, scores, locations, weights, levels = inputs()
    ones = torch.ones_like(scores)
    inside = locations.clamp(0.2, 0.8)
    feature = deformable_attention_3d(value, ones, inside, weights, levels)
    score = deformable_attention_3d(torch.ones_like(value), scores, inside, weights, levels)
    wrong = feature * score / deformable_attention_3d(torch.ones_like(value), ones, inside, weights, levels)
    right = deformable_attention_3d(value, scores, inside, weights, levels)
    assert (wrong - right).square().mean().sqrt() > 0.1 * right.square().mean().sqrt()


SMALL = {"batch": 2, "queries": 2, "heads": 2, "channels": 3, "points": 2, "bins": 3, "levels": ((3, 4), (1, 2))}


@pytest.mark.parametrize("implementation", EAGER)
@pytest.mark.parametrize("shared", [True, False])
def test_all_gradients_agree_with_finite_differences(implementation: Any, shared: bool) -> None:
    *tensors, levels = inputs(**SMALL, shared=shared)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(
        lambda *args: deformable_attention_3d(*args, levels, implementation=implementation), tensors, atol=1e-6
    )


@pytest.mark.parametrize("implementation", EAGER)
def test_gradients_without_depth_agree_with_finite_differences(implementation: Any) -> None:
    value, _, locations, weights, levels = inputs(**SMALL)
    tensors = [tensor.requires_grad_() for tensor in (value, locations[..., :2].contiguous(), weights)]
    assert torch.autograd.gradcheck(
        lambda value, *args: deformable_attention_3d(value, None, *args, levels, implementation=implementation),
        tensors,
        atol=1e-6,
    )


@pytest.mark.parametrize("implementation", EAGER)
def test_gradients_of_a_ragged_list_agree_with_finite_differences(implementation: Any) -> None:
    *tensors, levels, items = ragged_inputs(heads=2, channels=2, points=2, bins=3, levels=((2, 3),))
    tensors = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(
        lambda *args: deformable_attention_3d(*args, levels, items, implementation), tensors, atol=1e-6
    )


@pytest.mark.parametrize("implementation", EAGER)
@pytest.mark.parametrize("shared", [True, False])
def test_a_ragged_list_of_queries_reads_the_batch_items_it_names(implementation: Any, shared: bool) -> None:
    value, scores, locations, weights, levels, items = ragged_inputs(shared=shared)
    found = deformable_attention_3d(value, scores, locations, weights, levels, items, implementation)
    for query, item in enumerate(items[0].tolist()):
        one = slice(item, item + 1)
        part = (locations[:, query : query + 1], weights[:, query : query + 1])
        torch.testing.assert_close(
            found[:, query : query + 1], product_volume_attention(value[one], scores[one], *part, levels)
        )


def test_items_in_batch_order_change_nothing() -> None:
    *arguments, levels = inputs()
    items = torch.arange(2)[:, None].expand(2, 7)
    expected = deformable_attention_3d(*arguments, levels)
    assert torch.equal(deformable_attention_3d(*arguments, levels, items), expected)


def test_an_item_that_no_query_reads_gets_no_gradient() -> None:
    value, scores, locations, weights, levels, _ = ragged_inputs()
    value.requires_grad_()
    items = torch.tensor([[0, 2, 2, 0, 2, 0, 0, 2]])
    deformable_attention_3d(value, scores, locations, weights, levels, items).square().sum().backward()
    assert (value.grad[1] == 0).all()
    assert value.grad[0].abs().sum() > 0
    assert value.grad[2].abs().sum() > 0


def test_without_depth_it_is_2d_attention() -> None:
    value, scores, locations, weights, levels = inputs()
    locations[..., 2] = locations[..., 2].clamp(0.2, 0.8)
    expected = deformable_attention_3d(value, torch.ones_like(scores), locations, weights, levels)
    found = deformable_attention_3d(value, None, locations[..., :2], weights, levels)
    torch.testing.assert_close(found, expected)


def test_the_two_steps_by_themselves_give_the_operator() -> None:
    value, scores, locations, weights, levels = inputs()
    corner_scores = sample_depth_scores(scores, locations, levels)
    found = corner_weighted_attention(value, corner_scores, locations[..., :2], weights, levels)
    torch.testing.assert_close(found, product_volume_attention(value, scores, locations, weights, levels))


@pytest.mark.parametrize("implementation", EAGER)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30, -7.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_that_are_nowhere_contribute_zero_and_get_zero_gradients(
    bad: float, axis: int, implementation: Any
) -> None:
    value, scores, locations, weights, levels = inputs()
    locations[..., axis] = bad
    tensors = [tensor.requires_grad_() for tensor in (value, scores, locations, weights)]
    found = deformable_attention_3d(*tensors, levels, implementation=implementation)
    assert (found == 0).all()
    found.sum().backward()
    for tensor in tensors:
        assert (tensor.grad == 0).all()
    assert (sample_depth_scores(scores, locations, levels) == 0).all()


def test_one_point_that_is_nowhere_leaves_the_others_alone() -> None:
    value, scores, locations, weights, levels = inputs()
    locations[:, :, :, :, 0, 1] = float("nan")
    found = deformable_attention_3d(value, scores, locations, weights, levels)
    expected = deformable_attention_3d(value, scores, locations[..., 1:, :], weights[..., 1:], levels)
    torch.testing.assert_close(found, expected)


def test_scores_fade_to_zero_half_a_bin_beyond_the_range() -> None:
    value, scores = torch.ones(1, 4, 1, 1), torch.ones(1, 4, 5)
    depth = torch.tensor([-0.1, 0.0, 0.1, 0.5, 0.9, 1.0, 1.1])
    locations = torch.stack([torch.full((7,), 0.5), torch.full((7,), 0.5), depth], dim=-1).reshape(1, 7, 1, 1, 1, 3)
    found = deformable_attention_3d(value, scores, locations, torch.ones(1, 7, 1, 1, 1), [(2, 2)])
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]))


@pytest.mark.parametrize("implementation", ["auto", *EAGER])
def test_no_queries_give_no_rows(implementation: Any) -> None:
    for dtype in (torch.float32, torch.float64):
        value, scores, locations, weights = (tensor.to(dtype) for tensor in inputs()[:-1])
        found = deformable_attention_3d(
            value, scores, locations[:, :0], weights[:, :0], inputs()[-1], implementation=implementation
        )
        assert found.shape == (2, 0, 15)
        assert found.dtype == dtype


def test_chunks_of_queries_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inputs(queries=50)
    whole = [deformable_attention_3d(*arguments, implementation=implementation) for implementation in EAGER]
    for limit in ("_CHUNK_SAMPLES_CPU", "_CHUNK_BYTES"):
        monkeypatch.setattr(f"lift3d_ros.ops.deformable_attention_3d.{limit}", 5000)
    for implementation, expected in zip(EAGER, whole, strict=True):
        found = deformable_attention_3d(*arguments, implementation=implementation)
        torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-12)


def test_training_works_after_inference_with_the_same_sizes() -> None:
    *tensors, levels = inputs(levels=((3, 11),))
    with torch.inference_mode():
        deformable_attention_3d(*tensors, levels)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    deformable_attention_3d(*tensors, levels).sum().backward()
    assert all(tensor.grad is not None for tensor in tensors)


# Storing features, scores and weights in 16 bits, rounding the mixing weight once and rounding the result leave
# 4.5e-4 and 3.7e-3; each further rounding, of the running sum say, would double that.
@pytest.mark.parametrize(("dtype", "bound"), [("float16", 6e-4), ("bfloat16", 5e-3)])
@pytest.mark.parametrize("implementation", EAGER)
def test_16_bit_features_lose_no_more_than_their_own_rounding(dtype: str, bound: float, implementation: Any) -> None:
    sizes = {"queries": 200, "heads": 8, "channels": 32, "points": 8, "bins": 112, "batch": 1}
    value, scores, locations, weights, levels = inputs(**sizes, levels=((58, 100), (29, 50)))
    expected = deformable_attention_3d(value, scores, locations, weights, levels)
    half = [tensor.to(getattr(torch, dtype)) for tensor in (value, scores, weights)]
    found = deformable_attention_3d(half[0], half[1], locations.float(), half[2], levels, implementation=implementation)
    assert found.dtype == half[0].dtype
    assert (found.double() - expected).square().mean().sqrt() < bound * expected.square().mean().sqrt()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("implementation", EAGER)
def test_16_bit_features_have_gradients_of_their_own_type(dtype: str, implementation: Any) -> None:
    value, scores, locations, weights, levels = inputs()
    half = [tensor.to(getattr(torch, dtype)).requires_grad_() for tensor in (value, scores, weights)]
    places = locations.float().requires_grad_()
    deformable_attention_3d(half[0], half[1], places, half[2], levels, implementation=implementation).sum().backward()
    exact = [tensor.clone().requires_grad_() for tensor in (value, scores, weights, locations)]
    deformable_attention_3d(exact[0], exact[1], exact[3], exact[2], levels).sum().backward()
    for found, expected in zip((*half, places), exact, strict=True):
        assert found.grad.dtype == found.dtype
        torch.testing.assert_close(found.grad.double(), expected.grad, atol=0.05 * float(expected.grad.max()), rtol=0.1)


def test_features_and_scores_may_have_different_types() -> None:
    value, scores, locations, weights, levels = inputs()
    expected = deformable_attention_3d(value, scores, locations, weights, levels)
    found = deformable_attention_3d(value.half(), scores.float(), locations.float(), weights.float(), levels)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"locations": lambda t: t.half()}, "locations are torch.float16; expected float32", id="16 bits"),
        pytest.param({"value": lambda t: t[:, 1:]}, r"value has shape \(2, 46, 3, 5\)", id="missing pixel"),
        pytest.param({"depth_scores": lambda t: t[:1]}, r"depth_scores has shape \(1, 47, 6\)", id="other batch"),
        pytest.param({"weights": lambda t: t[..., 1:]}, "weights has shape", id="other points"),
        pytest.param({"locations": lambda t: t[..., :2]}, "locations has shape", id="no depth coordinate"),
        pytest.param({"value": lambda t: t[:1], "depth_scores": lambda t: t[:1]}, "2 batch rows", id="no items"),
        pytest.param(
            {"items": torch.tensor([[0] * 7, [2] * 7])}, "items reach from 0 to 2; expected 0 to 1", id="item"
        ),
        pytest.param({"items": torch.tensor([[0] * 7, [-1] * 7])}, "items reach from -1", id="negative item"),
        pytest.param({"items": torch.tensor([0, 1])}, "items has shape", id="shape of items"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    names = ("value", "depth_scores", "locations", "weights", "levels")
    arguments = dict(zip(names, inputs(), strict=True))
    for name, new in change.items():
        arguments[name] = new(arguments[name]) if callable(new) else new
    with pytest.raises(ValueError, match=message):
        deformable_attention_3d(**arguments)


def measured_peak(case: str, form: str) -> int:
    peak = peak_bytes(SIZES[case], form, "float32", "cpu", threads=1)
    if peak is None:
        pytest.skip("this system does not tell the peak memory of a process")
    return peak


@pytest.fixture(scope="module")
def naive_peaks() -> dict[str, int]:
    """What sampling the product volume takes; of the large case only the size of the largest level, over 2 GB."""
    large = SIZES["base camera"]
    return {
        "one level": measured_peak("one level", "product_volume"),
        "base camera": product_volume_bytes(large.heads, large.channels, large.bins, large.levels),
    }


@pytest.mark.parametrize("case", ["one level", "base camera"])
@pytest.mark.parametrize("implementation", ["embedding_bag", "numba"])
def test_takes_less_than_a_tenth_of_the_memory_of_the_product_volume(
    case: str, implementation: str, naive_peaks: dict[str, int]
) -> None:
    if implementation == "numba":
        pytest.importorskip("numba")
    size = SIZES[case]
    output_bytes = size.queries * size.heads * size.channels * 4
    assert output_bytes * 0.9 < measured_peak(case, implementation) < naive_peaks[case] / 10


class Ragged(torch.nn.Module):
    """The operator as a graph."""

    def __init__(self, levels: Any) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, value: Any, scores: Any, locations: Any, weights: Any, items: Any) -> Any:
        return deformable_attention_3d(value, scores, locations, weights, self.levels, items)


# What engine builders take: no scatter, no NonZero, no loop, no GridSample.
ACCEPTED = {
    "Add", "And", "Cast", "Concat", "Constant", "Expand", "Floor", "Gather", "Greater", "Identity", "Less", "MatMul",
    "Mul", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("operator")

    def export(arguments: tuple[Any, ...], levels: Any) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        names = ["value", "scores", "locations", "weights", "items"]
        torch.onnx.export(
            Ragged(levels).eval(), arguments, str(path), input_names=names, opset_version=20, dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
        return path

    return export


def run_graph(path: Path, arguments: tuple[Any, ...]) -> Any:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return torch.from_numpy(session.run(None, dict(zip(names, [a.numpy() for a in arguments], strict=True)))[0])


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({}, id="two levels"),
        pytest.param({"levels": ((4, 5),), "shared": False}, id="one level, scores for each head"),
    ],
)
def test_the_graph_gives_the_same_with_accepted_operators(exported: Any, case: dict[str, Any]) -> None:
    onnx = pytest.importorskip("onnx")
    value, scores, locations, weights, levels, items = ragged_inputs(**case)
    locations[0, 0, 0, 0, 0] = torch.tensor([float("nan"), 0.5, 0.5])
    locations[0, 1, 0, 0, 0] = torch.tensor([0.5, float("inf"), 0.5])
    arguments = (*(tensor.float() for tensor in (value, scores, locations, weights)), items)
    path = exported(arguments, levels)
    assert {node.op_type for node in onnx.load(str(path)).graph.node} <= ACCEPTED
    expected = deformable_attention_3d(value, scores, locations, weights, levels, items)
    torch.testing.assert_close(run_graph(path, arguments).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_graph_keeps_locations_in_32_bits_where_features_have_16(exported: Any) -> None:
    value, scores, locations, weights, levels, items = ragged_inputs(levels=((30, 50),), bins=112)
    arguments = (value.half(), scores.half(), locations.float(), weights.half(), items)
    found = run_graph(exported(arguments, levels), arguments)
    assert found.dtype == torch.float16
    expected = deformable_attention_3d(value, scores, locations, weights, levels, items)
    assert (found.double() - expected).square().mean().sqrt() < 6e-4 * expected.square().mean().sqrt()


def test_export_never_takes_the_eager_forms() -> None:
    chosen = []

    class Look(torch.nn.Module):
        def forward(self, *tensors: Any) -> Any:
            chosen.append(choose_implementation(*tensors))
            return tensors[0] + 1

    arguments = tuple(tensor.float() for tensor in inputs()[:-1])
    torch.export.export(Look().eval(), arguments)
    assert set(chosen) == {"gather"}
    assert choose_implementation(*inputs()[:-1]) == "embedding_bag"
    assert choose_implementation(*(tensor.to("meta") for tensor in arguments)) == "gather"


def test_shapes_are_known_without_memory() -> None:
    *tensors, levels = inputs()
    found = deformable_attention_3d(*(tensor.to("meta") for tensor in tensors), levels)
    assert found.shape == (2, 7, 15)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", EAGER)
def test_a_compiler_takes_it_whole(implementation: Any) -> None:
    arguments = inputs()
    compiled = torch.compile(deformable_attention_3d, fullgraph=True, dynamic=False)
    found = compiled(*arguments, implementation=implementation)
    torch.testing.assert_close(found, product_volume_attention(*arguments))


@pytest.mark.gpu
@pytest.mark.parametrize("implementation", EAGER)
def test_a_gpu_gives_the_same_with_its_gradients(implementation: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    value, scores, locations, weights, levels, items = ragged_inputs()
    results = []
    for device in ("cpu", "cuda"):
        tensors = [t.float().to(device).requires_grad_() for t in (value, scores, locations, weights)]
        found = deformable_attention_3d(*tensors, levels, items.to(device), implementation)
        found.square().sum().backward()
        results.append([found, *(tensor.grad for tensor in tensors)])
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
def test_a_gpu_call_can_be_recorded_as_a_graph() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    *tensors, levels, items = ragged_inputs()
    tensors = [tensor.float().cuda() for tensor in tensors]
    items = items.cuda()
    with torch.inference_mode():
        expected = deformable_attention_3d(*tensors, levels, items)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = deformable_attention_3d(*tensors, levels, items)
        graph.replay()
        torch.testing.assert_close(found, expected)
