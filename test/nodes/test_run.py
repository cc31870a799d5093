"""How the process of a node ends: what nobody expected is told, and an interrupt is no fault at any moment."""

from __future__ import annotations

import sys

import pytest
import rclpy
from doubling_node import DoublingNode, log_of_the_package_kept

from lift3d_ros.nodes.run import run_node

pytestmark = pytest.mark.ros


class BrokenNode(DoublingNode):
    def check(self) -> None:
        raise KeyError("camera")


def interrupted_node() -> DoublingNode:
    """Be interrupted as rclpy is: the middleware is shut down under the node that is being made."""
    rclpy.shutdown()
    return DoublingNode()


@pytest.fixture(autouse=True)
def arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["doubling"])


def test_an_unexpected_error_of_the_configuration_is_told_and_ends_the_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with log_of_the_package_kept():
        assert run_node(BrokenNode) == 2
    assert "doubling: error: cannot be configured: KeyError: 'camera'" in capfd.readouterr().err
    assert not rclpy.ok()


def test_an_interrupt_while_the_node_is_made_ends_without_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with log_of_the_package_kept():
        assert run_node(interrupted_node) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_that_is_no_interrupt_is_raised() -> None:
    def broken() -> DoublingNode:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_node(broken)
    rclpy.try_shutdown()
