"""Processes side by side end with their block: at once after Ctrl-C, after their tasks otherwise."""

from __future__ import annotations

import os
import time
from multiprocessing import active_children

import pytest

from lift3d_ros.simulation.worker_pool import worker_pool


def interrupt_long_tasks() -> None:
    with worker_pool(2, os.putenv, "A", "B") as pool:
        long = [pool.submit(time.sleep, 250.0) for _ in range(6)]
        while not any(task.running() for task in long):
            time.sleep(0.01)
        raise KeyboardInterrupt


def test_ctrl_c_ends_processes_in_the_middle_of_their_tasks() -> None:
    before = set(active_children())
    with pytest.raises(KeyboardInterrupt):
        interrupt_long_tasks()
    assert set(active_children()) <= before


def test_a_block_that_ends_well_waits_for_what_was_begun() -> None:
    with worker_pool(1, os.putenv, "A", "B") as pool:
        task = pool.submit(time.sleep, 0.5)
        while not task.running():
            time.sleep(0.01)
    assert task.done()
    assert not task.cancelled()
