"""The environment section finds what keeps ROS from working, and what to do."""

from __future__ import annotations

import pytest

from lift3d_ros.doctor.environment import check_environment
from lift3d_ros.doctor.probes import ROS_MODULES, Probe
from lift3d_ros.doctor.report import Check

NO_ROS = Probe(is_installed=False)


def ros(errors: dict[str, str] | None = None, rmw: str = "rmw_fastrtps_cpp") -> Probe:
    return Probe({"errors": dict.fromkeys(ROS_MODULES, "") | (errors or {}), "rmw": rmw})


def check(name: str, env: dict[str, str], probe: Probe) -> Check:
    (found,) = [check for check in check_environment(env, probe).checks if check.name == name]
    return found


def test_a_machine_without_ros_is_fine() -> None:
    section = check_environment({}, NO_ROS)
    assert {check.level for check in section.checks} == {"OK"}
    assert "replay" in check("rclpy", {}, NO_ROS).text


def test_a_machine_with_ros_is_fine() -> None:
    env = {"ROS_DISTRO": "jazzy", "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", "ROS_DOMAIN_ID": "42"}
    assert {check.level for check in check_environment(env, ros()).checks} == {"OK"}


def test_a_sourced_distribution_whose_rclpy_this_python_does_not_find_is_a_failure() -> None:
    found = check("ROS_DISTRO", {"ROS_DISTRO": "humble"}, NO_ROS)
    assert found.level == "FAIL"
    assert "--system-site-packages" in found.remedy


def test_the_marker_of_the_wheels_is_named_where_rclpy_cannot_be_imported() -> None:
    broken = ros({"rclpy": "ImportError: librcl.so: no such file; the C extension failed to be imported"})
    found = check("rclpy", {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}, broken)
    assert found.level == "FAIL"
    assert "C extension" in found.text
    assert "env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE" in found.remedy
    assert "env -u" not in check("rclpy", {}, broken).remedy
    assert check("rclpy", {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}, ros()).level == "OK"


def test_a_middleware_that_is_not_installed_is_told_from_a_broken_rclpy() -> None:
    # rclpy ends the process that imports it, so the probe has nothing but the last line.
    ended = Probe(error="[rcl]: Expected RMW implementation identifier of 'rmw_zenoh_cpp', exiting with 102.")
    env = {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    assert "install rmw_zenoh_cpp, or unset RMW_IMPLEMENTATION" in check("rclpy", env, ended).remedy


def test_a_crash_while_rclpy_is_imported_is_a_failure() -> None:
    found = check("rclpy", {}, Probe(error="the interpreter crashed: SIGSEGV"))
    assert found.level == "FAIL"
    assert "SIGSEGV" in found.text


def test_interfaces_that_are_not_built_are_told_from_missing_packages() -> None:
    probe = ros(dict.fromkeys(("lift3d_ros.msg", "tf2_msgs.msg", "vision_msgs.msg"), "ModuleNotFoundError"))
    assert "colcon build" in check("interfaces", {}, probe).remedy
    found = check("ROS packages", {}, probe)
    assert found.level == "FAIL"
    assert found.text == "cannot be imported: tf2_msgs"  # vision_msgs is optional
    assert "ros-$ROS_DISTRO-tf2-msgs" in found.remedy


@pytest.mark.parametrize(
    ("name", "env", "level", "words"),
    [
        ("ROS_DOMAIN_ID", {"ROS_DOMAIN_ID": "101"}, "OK", "101"),
        ("ROS_DOMAIN_ID", {"ROS_DOMAIN_ID": "150"}, "WARN", "ports"),
        ("ROS_DOMAIN_ID", {"ROS_DOMAIN_ID": "233"}, "FAIL", "not a domain"),
        ("ROS_DOMAIN_ID", {"ROS_DOMAIN_ID": "abc"}, "FAIL", "not a domain"),
        ("discovery range", {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "OK", "LOCALHOST"),
        ("discovery range", {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "WARN", "not even nodes"),
        ("discovery range", {"ROS_AUTOMATIC_DISCOVERY_RANGE": "HOME"}, "FAIL", "not known"),
        ("discovery range", {"ROS_LOCALHOST_ONLY": "1"}, "OK", "other machines"),
        ("RMW_IMPLEMENTATION", {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "FAIL", "rmw_fastrtps_cpp is loaded"),
    ],
)
def test_variables_of_ros(name: str, env: dict[str, str], level: str, words: str) -> None:
    found = check(name, env, ros())
    assert found.level == level
    assert words in found.text


def test_a_middleware_that_cannot_be_loaded_is_a_failure() -> None:
    probe = ros({"rmw": "could not load librmw_zenoh_cpp.so"}, rmw="")
    found = check("RMW_IMPLEMENTATION", {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}, probe)
    assert found.level == "FAIL"
    assert "librmw_zenoh_cpp" in found.text
