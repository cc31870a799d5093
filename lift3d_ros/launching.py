"""What launch files, the demo and the tests give to a node: environment and parameters, as plain data without ROS."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lift3d_ros.errors import ConfigError
from lift3d_ros.resources import find_resource

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def node_environment() -> dict[str, str]:
    """Return the part of `recommended_environment` that the user has not set already."""
    return {name: value for name, value in recommended_environment().items() if name not in os.environ}


def recommended_environment() -> dict[str, str]:
    """Return variables that make large pictures arrive and cost little.

    The Fast DDS profile enlarges the shared-memory segment; the MALLOC variables keep glibc from giving the memory of
    each picture back and faulting it in again.
    """
    # Fast DDS 3 renamed its variable; setting both names makes it load the profile twice and complain.
    is_before_fastdds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return {
        f"{'FASTRTPS' if is_before_fastdds_3 else 'FASTDDS'}_DEFAULT_PROFILES_FILE": str(
            find_resource("config/dds/fastdds_shared_memory.xml")
        ),
        "MALLOC_MMAP_THRESHOLD_": "268435456",
        "MALLOC_TRIM_THRESHOLD_": "1073741824",
        "MALLOC_TOP_PAD_": "67108864",
    }


def parameter_overrides(arguments: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str | bool]:
    """Return the parameters that launch arguments set; empty arguments leave those of the parameter file.

    Args:
        names: launch argument -> parameter of the node, for those that are texts.

    Raises:
        ConfigError: an argument that must be true or false is neither.
    """
    overrides: dict[str, str | bool] = {
        parameter: arguments[argument] for argument, parameter in names.items() if arguments[argument]
    }
    for argument in ("autostart", "use_sim_time"):
        if not arguments[argument]:
            continue
        if arguments[argument].lower() not in _TRUTH:
            raise ConfigError(f"launch argument '{argument}' is '{arguments[argument]}'; expected true or false")
        overrides[argument] = _TRUTH[arguments[argument].lower()]
    return overrides
