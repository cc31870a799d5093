"""A node takes its shared memory with it, however it is asked to end; 100 MB would stay until the machine restarts."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ros_system import EXECUTABLES, NodeProcess, segments, wait_for_segments
from shared_files import held_by, remove_left_files

pytestmark = pytest.mark.ros

# No graph is exported; nodes are interrupted while they open their model, too.
PARAMETERS: dict[str, dict[str, Any]] = {
    "bev_detection": {"cameras": ["front"], "engine.backend": "torch"},
    "skeleton_lifting": {"engine.backend": "torch"},
    "point_features": {"engine.backend": "torch"},
    "object_reconstruction": {"engine.backend": "torch"},
}


@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGINT) for name in PARAMETERS), ("point_features", signal.SIGTERM)],
    ids=lambda value: value if isinstance(value, str) else signal.Signals(value).name,
)
def test_a_node_that_is_asked_to_end_leaves_no_shared_memory(
    name: str, number: signal.Signals, observer: Any, graph_cache: Path
) -> None:
    if not (EXECUTABLES / name).exists():
        pytest.skip(f"{name} is not installed; run 'make setup'")
    of_the_observer = held_by(Path("/proc/self"))
    with NodeProcess(name, parameters=PARAMETERS[name]) as node:
        observer.wait_for_status("configuration", "accepted")
        made = segments(node) - of_the_observer
        assert made
        node.send_signal(number)
        assert node.wait() == 0, node.output
    assert [path for path in made if path.exists()] == []


def test_a_node_that_refuses_its_configuration_leaves_no_shared_memory() -> None:
    with NodeProcess("skeleton_lifting", parameters={"model": "no_such_model"}) as node:
        made = wait_for_segments(node)
        assert node.wait() == 2, node.output
    assert [path for path in made if path.exists()] == []


def test_what_killed_nodes_leave_is_removed_and_what_others_hold_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    began_s = time.time() - 10.0
    # Each in a domain of its own, where nobody else holds its segments too.
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    killed = NodeProcess("skeleton_lifting", parameters={"autostart": False})
    monkeypatch.setenv("ROS_DOMAIN_ID", "102")
    with NodeProcess("skeleton_lifting", parameters={"autostart": False}) as living:
        left, held = wait_for_segments(killed), wait_for_segments(living)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        remove_left_files(newer_than_s=time.time() + 10.0)
        assert all(path.exists() for path in left)
        remove_left_files(began_s)
        assert [path for path in left if path.exists()] == []
        assert all(path.exists() for path in held)
