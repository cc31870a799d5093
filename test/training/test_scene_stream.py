"""Worker processes prepare scenes without end; whatever goes wrong in one of them is said with the scene's name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest
from painted_scenes import NUM_FRAMES, PaintedSource
from painted_street import HEIGHT, WIDTH

from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.resources import find_resource
from lift3d_ros.training.packing import SimulatorSource
from lift3d_ros.training.scene_stream import SceneStream

SPEC = InputSpec(WIDTH, HEIGHT)


def stream(source: PaintedSource, workers: int = 2, seed: int = 0, share: tuple[int, int] = (0, 1)) -> SceneStream:
    return SceneStream(source, SPEC, NUSCENES_CLASSES, workers=workers, seed=(seed,), share=share)


def names(opened: SceneStream, count: int) -> list[str]:
    found: list[str] = []
    end = time.monotonic() + 60.0
    while len(found) < count and time.monotonic() < end:
        for samples in opened.take(timeout_s=1.0):
            assert [sample.index for sample in samples] == list(range(NUM_FRAMES))
            found.append(samples[0].scene)
    return found


def test_each_scene_comes_once_before_any_comes_again_and_never_ends() -> None:
    with stream(PaintedSource(num_scenes=4), workers=1) as opened:
        found = names(opened, 12)
    for first in (0, 4, 8):
        assert sorted(found[first : first + 4]) == [f"painted-{number}" for number in range(4)]
    assert opened.num_scenes >= 12


def test_workers_and_processes_divide_the_scenes_between_them() -> None:
    with stream(PaintedSource(num_scenes=8), workers=2, share=(1, 2)) as opened:
        found = names(opened, 20)
    assert set(found) == {"painted-1", "painted-3", "painted-5", "painted-7"}


def test_an_error_in_a_worker_names_the_scene() -> None:
    source = PaintedSource(num_scenes=2, faults=(("painted-1", "the lamp is broken"),))
    with stream(source, workers=1) as opened, pytest.raises(DatasetError, match=r"scene 'painted-1'.*lamp is broken"):
        names(opened, 10)


def test_a_worker_that_dies_is_told_with_its_scene_and_the_others_are_ended() -> None:
    source = PaintedSource(num_scenes=6, faults=(("painted-4", "dies"),))
    with stream(source) as opened, pytest.raises(Lift3dError, match=r"status 9\) at scene 'painted-4'.*run.workers=1"):
        names(opened, 100)
    assert not opened.is_open
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_noticed_while_it_renders() -> None:
    with stream(PaintedSource(num_scenes=1, delay_s=30.0), workers=1) as opened:
        while not opened._at:
            opened.take(timeout_s=0.5)
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGKILL)
        with pytest.raises(Lift3dError, match=r"status -9\) at scene 'painted-0'"):
            opened.take(timeout_s=20.0)


def test_workers_are_ended_in_the_middle_of_a_scene() -> None:
    with stream(PaintedSource(delay_s=60.0)) as opened:
        opened.take(timeout_s=0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 10.0
    assert multiprocessing.active_children() == []
    assert opened.take() == []


def test_seeds_of_the_evaluation_are_not_streamed() -> None:
    source = SimulatorSource(find_resource("config/simulation/train.yaml"), range(8998, 9002))
    with pytest.raises(ConfigError, match="9000"):
        SceneStream(source, SPEC, NUSCENES_CLASSES, workers=1, seed=(0,))
