"""What launch files give to a node, as plain data: environment and parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.launching import node_environment, parameter_overrides

NAMES = {"rig": "rig", "model": "model", "backend": "engine.backend"}
UNSET = dict.fromkeys((*NAMES, "autostart", "use_sim_time"), "")


def test_empty_arguments_leave_what_the_parameter_file_says() -> None:
    assert parameter_overrides(UNSET, NAMES) == {}


def test_arguments_become_parameters() -> None:
    arguments = {"rig": "/cars/rig.yaml", "model": "dfa3d_tiny", "backend": "torch"}
    assert parameter_overrides({**UNSET, **arguments}, NAMES) == {
        "rig": "/cars/rig.yaml",
        "model": "dfa3d_tiny",
        "engine.backend": "torch",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("1", True), ("yes", True), ("false", False), ("FALSE", False), ("0", False)],
)
@pytest.mark.parametrize("argument", ["autostart", "use_sim_time"])
def test_switches_become_booleans(argument: str, text: str, value: bool) -> None:
    overrides = parameter_overrides({**UNSET, argument: text}, NAMES)
    assert overrides == {argument: value}
    assert isinstance(overrides[argument], bool), "a ROS parameter of type bool refuses text"


def test_a_switch_that_is_neither_is_refused_with_what_was_expected() -> None:
    with pytest.raises(ConfigError, match=r"launch argument 'autostart' is 'on'; expected true or false"):
        parameter_overrides({**UNSET, "autostart": "on"}, NAMES)


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_profile_is_named_as_the_distribution_expects_it(
    distribution: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", distribution)
    environment = node_environment()
    profiles = {name: value for name, value in environment.items() if name.endswith("PROFILES_FILE")}
    assert list(profiles) == [variable], "both names at once make Fast DDS complain"
    assert Path(profiles[variable]).is_file()


def test_the_allocator_keeps_the_memory_of_large_pictures() -> None:
    environment = node_environment()
    picture = 3840 * 2160 * 3
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"):
        assert int(environment[name]) > picture
    assert all(isinstance(value, str) for value in environment.values())


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/robot/profiles.xml")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    environment = node_environment()
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in environment
    assert "MALLOC_TOP_PAD_" not in environment
    assert "MALLOC_TRIM_THRESHOLD_" in environment
