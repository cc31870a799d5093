"""Farthest-point sampling: the same indices from every implementation, for any cloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.errors import EngineError  # noqa: E402
from lift3d_ros.ops import cloud_search  # noqa: E402
from lift3d_ros.ops.farthest_points import farthest_point_sampling, mask_of_counts  # noqa: E402


@pytest.fixture(params=["numpy", "numba", "torch"])
def implementation(request: pytest.FixtureRequest) -> Any:
    if request.param == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    return request.param


def sampled_plainly(cloud: np.ndarray, count: int) -> list[int]:
    """Farthest points by their definition, in the arithmetic that the operator promises."""
    chosen = [0]
    while len(chosen) < count:
        steps = cloud[:, None] - cloud[chosen][None]
        squared = steps * steps
        chosen.append(int(((squared[..., 0] + squared[..., 1]) + squared[..., 2]).min(1).argmax()))
    return chosen


def cloud_of(kind: str, count: int) -> Any:
    generator = torch.Generator().manual_seed(count)
    if kind == "grid":
        side = round(count ** (1 / 3)) + 1
        axes = torch.meshgrid(*[torch.arange(float(side))] * 3, indexing="ij")
        return torch.stack(axes, -1).reshape(1, -1, 3)[:, :count]
    points = torch.randn(1, count, 3, generator=generator)
    if kind == "line":
        return points * torch.tensor([1.0, 0.0, 0.0])
    if kind == "duplicates":
        return points[:, torch.randint(0, count // 4, (count,), generator=generator)]
    if kind == "far away":
        return points + torch.tensor([4e3, -2e3, 50.0])
    return points


@pytest.mark.parametrize("kind", ["random", "grid", "line", "duplicates", "far away"])
@pytest.mark.parametrize("count", [7, 129, 700])
def test_points_are_those_of_the_definition(kind: str, count: int, implementation: Any) -> None:
    cloud = cloud_of(kind, count)
    samples = min(count, 60)
    found = farthest_point_sampling(cloud, samples, implementation=implementation)
    assert found[0].tolist() == sampled_plainly(cloud[0].numpy(), samples)


def test_clouds_of_a_batch_may_have_different_numbers_of_points(implementation: Any) -> None:
    cloud = torch.cat([cloud_of("random", 50), cloud_of("line", 50), cloud_of("grid", 50)])
    mask = mask_of_counts(torch.tensor([50, 20, 3]), 50)
    found = farthest_point_sampling(cloud, 10, mask, implementation=implementation)
    for item, count in enumerate((50, 20, 3)):
        alone = farthest_point_sampling(cloud[item : item + 1, :count], 10, implementation=implementation)
        assert torch.equal(found[item], alone[0])
    assert found[2].tolist()[3:] == [0] * 7


def test_points_that_are_not_finite_are_never_taken(implementation: Any) -> None:
    cloud = cloud_of("random", 40)
    cloud[0, 0, 1], cloud[0, 7, 2], cloud[0, 9] = torch.nan, torch.inf, -torch.inf
    found = farthest_point_sampling(cloud, 45, implementation=implementation)[0]
    assert found[0] == 1
    assert not {0, 7, 9} & set(found.tolist())
    assert set(found.tolist()) == set(range(40)) - {0, 7, 9}
    assert found[37:].tolist() == [1] * 8


def test_a_cloud_without_usable_points_gives_zeros(implementation: Any) -> None:
    cloud = torch.full((2, 5, 3), torch.nan)
    cloud[1] = torch.randn(5, 3)
    found = farthest_point_sampling(cloud, 3, implementation=implementation)
    assert found[0].tolist() == [0, 0, 0]
    assert len(set(found[1].tolist())) == 3


def test_points_near_the_origin_are_skipped_only_on_request(implementation: Any) -> None:
    cloud = torch.tensor([[[0.01, 0.0, 0.0], [0.0, 0.02, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.03], [0.5, 0.0, 0.0]]])
    published = farthest_point_sampling(cloud, 5, skips_near_origin=True, implementation=implementation)
    assert published[0].tolist() == [0, 2, 4, 2, 2]
    plain = farthest_point_sampling(cloud, 5, implementation=implementation)
    assert plain[0].tolist() == [0, 2, 4, 3, 1]
    cloud[0, 0, 0] = torch.nan
    only_near = farthest_point_sampling(0.01 * cloud, 3, skips_near_origin=True, implementation=implementation)
    assert only_near[0].tolist() == [1, 1, 1]


def test_float64_clouds_of_a_map_frame_are_sampled_as_if_they_lay_in_the_origin(implementation: Any) -> None:
    cloud = (torch.randint(0, 2000, (1, 200, 3)) / 256.0).double()  # exact in float32 before and after the shift
    moved = cloud + torch.tensor([500_000.0, 5_400_000.0, 100.0], dtype=torch.float64)
    near = farthest_point_sampling(cloud, 50, implementation=implementation)
    assert torch.equal(farthest_point_sampling(moved, 50, implementation=implementation), near)


def test_a_cloud_without_extent_gives_its_first_point_again_and_again(implementation: Any) -> None:
    assert farthest_point_sampling(torch.ones(1, 300, 3), 4, implementation=implementation)[0].tolist() == [0, 0, 0, 0]


def test_large_clouds_give_the_same_points_with_and_without_buckets() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    cloud = torch.randn(1, 20_000, 3, generator=torch.Generator().manual_seed(1))
    cloud = cloud / cloud.norm(dim=-1, keepdim=True)
    buckets = farthest_point_sampling(cloud, 200, implementation="numba")
    assert torch.equal(buckets, farthest_point_sampling(cloud, 200, implementation="numpy"))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"points have shape \(5, 3\); expected \(B, N, 3\)"):
        farthest_point_sampling(torch.zeros(5, 3), 2)
    with pytest.raises(ValueError, match="num_samples is 0"):
        farthest_point_sampling(torch.zeros(1, 5, 3), 0)
    with pytest.raises(ValueError, match=r"is_valid is torch.int64 of shape \(1, 4\); expected bool \(1, 5\)"):
        farthest_point_sampling(torch.zeros(1, 5, 3), 2, torch.ones(1, 4, dtype=torch.int64))


def test_without_numba_numpy_takes_its_place_and_asking_for_it_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud_search.importlib.util, "find_spec", lambda name: None)
    assert farthest_point_sampling(torch.rand(1, 9, 3), 2).shape == (1, 2)
    with pytest.raises(EngineError, match="'pip install numba'"):
        farthest_point_sampling(torch.rand(1, 9, 3), 2, implementation="numba")
