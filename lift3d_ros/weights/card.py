"""The one writer of model cards: words from a YAML file, every figure from a stored result.

A card lies beside the weights as ``NAME.md``, its words as ``NAME.card.yaml``. Numbers are never typed: a table names
a result file and the places of its figures there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lift3d_ros.config import load_yaml
from lift3d_ros.errors import Lift3dError
from lift3d_ros.weights.manifest import ModelEntry

CARD_TEXT = ".card.yaml"


@dataclass(frozen=True)
class CardTable:
    """One table; either `rows`, or `each` with `columns`.

    Args:
        source: JSON file of results, relative to the folder of the package.
        rows: label -> dotted place of a figure; an item of a list by its number.
        each: dotted place of a mapping; a row for each of its entries.
        columns: heading -> dotted place within an entry.
        note: a sentence below the table.
        digits: after the point.
    """

    title: str
    source: str
    rows: Mapping[str, str] = field(default_factory=dict)
    each: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    digits: int = 3


@dataclass(frozen=True)
class CardText:
    """The words of a card; `sections` are title -> Markdown."""

    summary: str
    facts: Mapping[str, str]
    sections: Mapping[str, str]
    tables: tuple[CardTable, ...] = ()
    attribution: tuple[str, ...] = ()


def write_card(name: str, entry: ModelEntry, folder: Path) -> Path:
    """Write the card of the model `name`, whose words lie in `folder`; result files are looked for in its parent.

    Raises:
        ConfigError: the words are missing or do not fit.
        Lift3dError: a result file is missing, or has no such figure.
    """
    text = load_yaml(CardText, folder / f"{name}{CARD_TEXT}")
    path = folder / f"{name}.md"
    path.write_text(render_card(name, entry, text, folder), encoding="utf-8")
    return path


def render_card(name: str, entry: ModelEntry, text: CardText, folder: Path) -> str:
    """Return the card as Markdown; see :func:`write_card`."""
    facts = {"method": entry.method, "configuration": entry.preset, **text.facts, "licence": entry.licence}
    if entry.weights is not None:
        size = (folder / entry.weights).stat().st_size
        facts |= {"weights": f"`{entry.weights}`, {size / 1e6:.1f} MB", "SHA-256": f"`{entry.sha256}`"}
    parts = [f"# {name}", text.summary.strip(), _rows(("fact", "value"), list(facts.items()))]
    for title, words in text.sections.items():
        parts += [f"## {title}", words.strip()]
    for table in text.tables:
        parts += [f"## {table.title}", *_table(table, folder.parent)]
    if text.attribution:
        parts += ["## Attribution", "\n".join(f"- {line}" for line in text.attribution)]
    return "\n\n".join(parts) + "\n"


def _table(table: CardTable, root: Path) -> list[str]:
    path = root / table.source
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Lift3dError(f"{path}: result of the table '{table.title}' cannot be read ({error})") from None
    where = f"{path}: table '{table.title}'"
    if table.each:
        entries = _figure(document, table.each, where)
        rows = [
            (label, *(_text(_figure(entry, place, where), table.digits) for place in table.columns.values()))
            for label, entry in entries.items()
        ]
        parts = [_rows(("", *table.columns), rows)]
    else:
        found = {label: _text(_figure(document, place, where), table.digits) for label, place in table.rows.items()}
        parts = [_rows(("", ""), list(found.items()))]
    if table.note:
        parts.append(table.note.strip())
    command = document.get("command") if isinstance(document, Mapping) else None
    made = f"`{command}`, stored in `{table.source}`" if command else f"stored in `{table.source}`"
    return [*parts, f"Made with {made}." if command else f"Result {made}."]


def _figure(document: Any, place: str, where: str) -> Any:
    found, names = document, place.split(".")
    while names:
        if isinstance(found, list) and names[0].isdigit() and int(names[0]) < len(found):
            found = found[int(names.pop(0))]
            continue
        # A name may itself have a point, as in f_score_0.05: the longest one counts.
        lengths = range(len(names), 0, -1) if isinstance(found, Mapping) else ()
        length = next((length for length in lengths if ".".join(names[:length]) in found), None)
        if length is None:
            raise Lift3dError(f"{where}: there is no '{place}'; make the result again, or correct the card's words")
        found, names = found[".".join(names[:length])], names[length:]
    return found


def _text(value: Any, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _rows(heading: tuple[str, ...], rows: list[Any]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
