"""Typed configuration: dataclasses with defaults are the truth, mappings (YAML, parameters) override by name.

A configuration is a frozen dataclass whose fields are plain values or nested configuration dataclasses
(one level of groups). Field metadata: ``help`` (one sentence), ``unit``, ``minimum``, ``maximum``.
Not for facts of trained weights; those travel with the weights.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from yaml.constructor import ConstructorError

from lift3d_ros.errors import ConfigError, nearest_name_hint

ConfigT = TypeVar("ConfigT")


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare a configuration field with its default, description and range."""
    metadata = {"help": help, "unit": unit, "minimum": minimum, "maximum": maximum}
    if isinstance(default, list | dict):
        raise TypeError("use a tuple as default; configurations are immutable")
    return dataclasses.field(default=default, metadata=metadata)


def group(cls: type[Any]) -> Any:
    """Declare a nested configuration group whose own defaults apply."""
    return dataclasses.field(default_factory=cls)


@dataclass(frozen=True)
class Setting:
    """One leaf of a configuration: dotted name, annotated type and the field's metadata."""

    name: str
    annotation: Any
    default: Any
    help: str
    unit: str
    minimum: float | None
    maximum: float | None

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed values of a ``Literal`` setting, else empty."""
        return typing.get_args(self.annotation) if typing.get_origin(self.annotation) is Literal else ()


def iterate_settings(cls: type[Any], prefix: str = "") -> Iterator[Setting]:
    """Yield every leaf setting of a configuration dataclass in declaration order, groups as ``group.name``."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        annotation = hints[field.name]
        if dataclasses.is_dataclass(annotation):
            yield from iterate_settings(typing.cast("type[Any]", annotation), f"{prefix}{field.name}.")
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        yield Setting(
            name=f"{prefix}{field.name}",
            annotation=annotation,
            default=None if default is MISSING else default,
            help=field.metadata.get("help", ""),
            unit=field.metadata.get("unit", ""),
            minimum=field.metadata.get("minimum"),
            maximum=field.metadata.get("maximum"),
        )


def from_mapping(cls: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Build a configuration from nested mappings, checking names, types and ranges.

    Args:
        values: field name -> value; groups are mappings. Missing names keep their defaults.
        where: file or node name for error messages.

    Raises:
        ConfigError: unknown name (with the nearest known one), wrong type or value out of range.
    """
    return typing.cast("ConfigT", _build(cls, values, where, ""))


def load_yaml(cls: type[ConfigT], path: Path) -> ConfigT:
    """Read a configuration from a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit the dataclass.
    """
    return from_mapping(cls, read_yaml_mapping(path), str(path))


def read_yaml_mapping(path: Path) -> Mapping[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, cannot be parsed or holds something else.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _UniqueNames)  # a safe loader, see below
    except FileNotFoundError:
        raise ConfigError(f"{path}: file not found; give the path of an existing YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a YAML file that you may read") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path}: expected 'name: value' lines at the top level, got {type(document).__name__}")
    return document


class _UniqueNames(yaml.SafeLoader):
    """Refuses what the safe loader takes in silence: a name that is given twice, and one that YAML reads as no text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise ConstructorError(
                    problem=f"name {key.value!r} is no text; put it in quotes", problem_mark=key.start_mark
                )
            if key.value in names:
                raise ConstructorError(
                    problem=f"name '{key.value}' is given twice; keep one", problem_mark=key.start_mark
                )
            names.add(key.value)
        return super().construct_mapping(node, deep)


def flat_facts(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested groups as dotted name -> plain value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_facts(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def _build(cls: Any, values: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"{where}: unknown name '{prefix}{name}'{nearest_name_hint(str(name), fields)} "
                f"(known here: {', '.join(fields)})"
            )
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in values:
            if field.default is MISSING and field.default_factory is MISSING:
                raise ConfigError(f"{where}: '{prefix}{name}' is required; add it")
            continue
        value, annotation = values[name], hints[name]
        if dataclasses.is_dataclass(annotation):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: '{prefix}{name}' must be a group of 'name: value' lines, got {value!r}")
            arguments[name] = _build(annotation, value, where, f"{prefix}{name}.")
        else:
            arguments[name] = _convert(value, annotation, where, f"{prefix}{name}")
            _check_range(arguments[name], field.metadata, where, f"{prefix}{name}")
    return cls(**arguments)


def _convert(value: Any, annotation: Any, where: str, name: str) -> Any:
    """Check `value` against a scalar, Literal, Optional or tuple annotation and normalise containers."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        if value not in arguments:
            hint = nearest_name_hint(str(value), [str(choice) for choice in arguments])
            raise ConfigError(f"{where}: '{name}' is {value!r}; expected one of {', '.join(map(str, arguments))}{hint}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: '{name}' must be a list, got {value!r}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(item, arguments[0], where, f"{name}[{i}]") for i, item in enumerate(value))
        if len(value) != len(arguments):
            raise ConfigError(f"{where}: '{name}' must be a list of {len(arguments)} values, got {len(value)}")
        pairs = zip(value, arguments, strict=True)
        return tuple(_convert(item, kind, where, f"{name}[{i}]") for i, (item, kind) in enumerate(pairs))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{name}' must be a group of 'name: value' lines, got {value!r}")
        return {str(key): _convert(item, arguments[1], where, f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(annotation):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{name}' must be a group of 'name: value' lines, got {value!r}")
        return _build(annotation, value, where, f"{name}.")
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_number_for_text = annotation is str and not isinstance(value, str)
    if is_number_for_text or not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        hint = ""
        if annotation is float and isinstance(value, bool):  # a choice of yes or no may have become a share
            hint = f"; write {float(value)} for {str(value).lower()}"
        raise ConfigError(f"{where}: '{name}' must be {_type_name(annotation)}, got {value!r}{hint}")
    if annotation is float and not math.isfinite(value):
        raise ConfigError(f"{where}: '{name}' must be a finite number, got {value!r}")
    return value


def _type_name(annotation: type) -> str:
    return {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text (put it in quotes)",
    }.get(annotation, annotation.__name__)


def _check_range(value: Any, metadata: Mapping[str, Any], where: str, name: str) -> None:
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    for item in value if isinstance(value, tuple) else (value,):
        if not isinstance(item, int | float):
            continue
        if (minimum is not None and item < minimum) or (maximum is not None and item > maximum):
            low = "-inf" if minimum is None else f"{minimum:g}"
            high = "inf" if maximum is None else f"{maximum:g}"
            raise ConfigError(f"{where}: '{name}' is {item:g}; expected {low} to {high}")
