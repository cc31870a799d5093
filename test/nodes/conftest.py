"""Real nodes in processes of their own, on a DDS domain of their own; fixtures are in test/conftest.py."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 on this machine")
pytest.importorskip("lift3d_ros.msg", reason="the interfaces are not built: run 'make setup'")

from ros_system import use_own_domain

use_own_domain()
