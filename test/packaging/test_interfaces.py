"""Interface files: every field is explained, and the stand-ins of the tests are the real types on the wire."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted(p for folder in ("msg", "srv", "action") for p in (REPOSITORY / folder).iterdir())

# Taken from builds of the upstream definitions; the hash of a type depends on names and types only.
TYPE_HASHES = {
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/BoundingBox3D": "RIHS01_bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "vision_msgs/msg/Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
}
# What tells the unit of a number: the unit itself, its range, or that it has none.
UNIT = re.compile(r"\b(m|m/s|s|ms|px|rad|deg|Hz|metres|unit|units)\b|0\.\.1|sums to 1|layout of points")


def field_lines(path: Path) -> list[tuple[str, str]]:
    """Return (declaration, comment) of every field and constant."""
    lines = (line.partition("#") for line in path.read_text(encoding="utf-8").splitlines())
    return [(d.strip(), c.strip()) for d, _, c in lines if d.strip() and d.strip() != "---"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_field_says_what_it_means(path: Path) -> None:
    fields = field_lines(path)
    assert fields
    assert path.read_text(encoding="utf-8").startswith("# "), "the first line says what the interface is for"
    assert [declaration for declaration, comment in fields if len(comment) < 4] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_floating_point_number_has_a_unit_or_a_range(path: Path) -> None:
    floats = [(d, c) for d, c in field_lines(path) if re.match(r"float(32|64)\b", d)]
    assert [declaration for declaration, comment in floats if not UNIT.search(comment)] == []


@pytest.mark.parametrize("name", TYPE_HASHES)
def test_stand_ins_have_the_type_hash_of_the_real_interfaces(name: str) -> None:
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    found = [path for prefix in prefixes if (path := Path(prefix, "share", f"{name}.json")).is_file()]
    if not found:
        pytest.skip(f"{name} is not built: run 'make setup' with CPython 3.11")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(found[0].read_text())["type_hashes"]}
    assert hashes[name] == TYPE_HASHES[name]


def test_stand_ins_are_hidden_from_other_workspaces() -> None:
    assert (REPOSITORY / "test/interfaces/COLCON_IGNORE").is_file()
