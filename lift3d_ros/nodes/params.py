"""Declares the parameters of a node from its configuration dataclass, strictly.

rclpy ignores overrides of names that nobody declares and refuses ``1`` for a double with a message that does not
say what to write; both are reported here as ConfigError.
"""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from lift3d_ros.config import Setting, from_mapping, iterate_settings
from lift3d_ros.errors import ConfigError, nearest_name_hint

ConfigT = TypeVar("ConfigT")

# Names that rclpy or the launch system declare.
_FOREIGN_NAMES = ("use_sim_time", "start_type_description_service")
_FOREIGN_PREFIXES = ("qos_overrides.",)


def declare_parameters(
    node: Node, config_class: type[ConfigT], parameter_file: str = "config/bev_detection.yaml"
) -> ConfigT:
    """Check the overrides given to `node`, declare every setting as a read-only parameter, return the configuration.

    Args:
        parameter_file: where all names are, for the error of an unknown one.

    Raises:
        ConfigError: unknown name (with the nearest one), wrong type or value out of range.
    """
    settings = {setting.name: setting for setting in iterate_settings(config_class)}
    where = f"parameters of node '{node.get_name()}'"
    values = {name: _plain(value) for name, value in _overrides(node).items()}
    for name in values:
        if name not in settings:
            raise ConfigError(
                f"{where}: unknown name '{name}'{nearest_name_hint(name, settings)}; all names are in {parameter_file}"
            )
        _refuse_integer_for_double(settings[name], values[name], where)
    config = from_mapping(config_class, _nested(values), where)
    for setting in settings.values():
        value = _value_of(config, setting.name)
        if not node.has_parameter(setting.name):
            # rclpy cannot tell the type of an empty list.
            shown = (list(value) or [""]) if isinstance(value, tuple) else value
            node.declare_parameter(setting.name, shown, _descriptor(setting), ignore_override=True)
    return config


def requested_autostart(node: Node) -> bool:
    """Return whether the node is to start by itself, whatever is wrong with its other parameters."""
    return _overrides(node).get("autostart") is not False


def _overrides(node: Node) -> dict[str, Any]:
    """Return the overrides of this node from command line, launch and YAML files, without those of rclpy's own."""
    given = node._parameter_overrides  # rclpy has no public accessor
    return {
        name: parameter.value
        for name, parameter in given.items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN_PREFIXES)
    }


def _plain(value: Any) -> Any:
    """Return arrays as lists; an empty text in a list stands for nothing, since YAML parameters know no empty list."""
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    return [item for item in value if item != ""]


def _refuse_integer_for_double(setting: Setting, value: Any, where: str) -> None:
    if setting.annotation is float and isinstance(value, int) and not isinstance(value, bool):
        raise ConfigError(f"{where}: '{setting.name}' is {value}, a whole number; it is a double: write {value}.0")


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = name.split(".")
        target = nested
        for group in groups:
            target = target.setdefault(group, {})
        target[leaf] = value
    return nested


def _value_of(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _descriptor(setting: Setting) -> ParameterDescriptor:
    description = setting.help + (f" [{setting.unit}]" if setting.unit else "")
    if setting.choices:
        description += f"; one of {', '.join(setting.choices)}"
    descriptor = ParameterDescriptor(description=description, read_only=True)
    if setting.minimum is not None and setting.maximum is not None:
        low, high = setting.minimum, setting.maximum
        if setting.annotation is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        elif setting.annotation is int or int in typing.get_args(setting.annotation):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor
