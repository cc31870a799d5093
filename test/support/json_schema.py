"""Checks documents with the part of JSON Schema that this project uses, since no validator is among its packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "number": (int, float),
    "integer": (int,), "null": (type(None),),
}  # fmt: skip
_KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties",
    "items", "minItems", "minimum", "maximum", "const", "enum",
}  # fmt: skip


def problems(document: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return one line for everything that does not fit; a keyword that is not known here is an error."""
    return list(_problems(document, schema, schema, "document"))


def _problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Iterator[str]:
    unknown = set(schema) - _KNOWN
    assert not unknown, f"keywords that this checker does not know: {unknown}"
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    is_bool = isinstance(value, bool)
    fits = any(isinstance(value, _TYPES[name]) and (name == "boolean" or not is_bool) for name in names)
    if names and not fits:
        yield f"{where}: {type(value).__name__} is not {' or '.join(names)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    is_number = isinstance(value, int | float) and not is_bool
    if is_number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where}: {value} is out of range"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{where}: too few items"
        for number, item in enumerate(value):
            yield from _problems(item, schema.get("items", {}), root, f"{where}[{number}]")
    if isinstance(value, dict):
        yield from _object_problems(value, schema, root, where)


def _object_problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Iterator[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{where}: lacks {name}" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        if name in properties:
            yield from _problems(item, properties[name], root, f"{where}.{name}")
        elif others is False:
            yield f"{where}: {name} is not known"
        elif isinstance(others, dict):
            yield from _problems(item, others, root, f"{where}.{name}")
