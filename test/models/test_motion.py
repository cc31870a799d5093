"""Velocities are read from where the last map shows what the current one does, at any frame rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, MotionConfig  # noqa: E402
from lift3d_ros.models.dfa3d.motion import MotionHead  # noqa: E402

CELL_M = 1.0
CONFIG = Dfa3dConfig(
    embed_dims=16,
    bev_height=40,
    bev_width=40,
    point_range=(-20.0, -20.0, -5.0, 20.0, 20.0, 3.0),
    reads_history_age=True,
    motion=MotionConfig(channels=8, largest_mps=8.0, steps=4),
)
CENTERS = torch.cartesian_prod(torch.arange(-6.5, 7.0, 2.0), torch.arange(-6.5, 7.0, 2.0))[None]


def maps(cells_x: int, cells_y: int, seed: int = 0) -> tuple[Any, Any]:
    """Return a map, and the one before, in which everything lay so many cells back."""
    picture = torch.randn(1, 16, 40, 40, generator=torch.Generator().manual_seed(seed))
    before = torch.roll(picture, (-cells_y, -cells_x), dims=(2, 3))
    return tuple(map_.flatten(2).transpose(1, 2) for map_ in (picture, before))


def head(seed: int = 0) -> MotionHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MotionHead(CONFIG)


@pytest.mark.parametrize("age", [0.5, 1.0])
@pytest.mark.parametrize(("cells_x", "cells_y"), [(0, 0), (2, 0), (-4, 2), (0, -4)])
def test_the_true_velocity_looks_most_alike(cells_x: int, cells_y: int, age: float) -> None:
    motion, (now, before) = head(), maps(cells_x, cells_y)
    with torch.inference_mode():
        likeness = motion.likeness(motion._picture(now), motion._picture(before), CENTERS, torch.tensor([age]))
    expected = torch.tensor([cells_x, cells_y]) * CELL_M / age
    assert (motion.velocities[likeness[0].argmax(dim=1)] == expected).all()
    assert float(likeness.max(dim=-1).values.min()) == pytest.approx(1.0, abs=1e-4)


def test_velocities_are_learned_in_a_few_steps_and_hold_at_another_frame_rate() -> None:
    motion = head()
    optimizer = torch.optim.Adam(motion.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(1)

    def draw(step: int, age: float) -> tuple[Any, Any]:
        cells = 2 * torch.randint(-2, 3, (8, 2), generator=generator)
        pairs = [maps(int(x), int(y), 8 * step + row) for row, (x, y) in enumerate(cells)]
        now, before = (torch.cat(part) for part in zip(*pairs, strict=True))
        found = motion(now, before, CENTERS.expand(8, -1, -1), torch.full((8,), age))
        return found, (cells * CELL_M / age)[:, None].expand_as(found)

    for step in range(150):
        found, wanted = draw(step, 0.5)
        optimizer.zero_grad()
        torch.nn.functional.huber_loss(found, wanted, delta=2.0).backward()
        optimizer.step()
    with torch.inference_mode():
        for age in (0.5, 1.0):
            found, wanted = draw(900, age)
            assert float((found - wanted).norm(dim=-1).mean()) < 0.3 * float(wanted.norm(dim=-1).mean()), age


def test_a_motion_head_without_the_age_of_the_history_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"set network\.reads_history_age=true"):
        replace(CONFIG, reads_history_age=False)
    with pytest.raises(ConfigError, match="ego_input=transform"):
        replace(CONFIG, ego_input="can_bus")
