"""A model card takes its figures from stored results, so that no number in it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lift3d_ros.config import load_yaml
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.weights.card import CARD_TEXT, CardText, render_card, write_card
from lift3d_ros.weights.manifest import ModelEntry, read_manifest

ENTRY = ModelEntry("dfa3d", "tiny", "Apache-2.0", "this package", "m.safetensors", "ab" * 32)
WORDS = """
summary: Finds cars.
facts: {input: 6 pictures}
sections: {Limits: It is small.}
tables:
  - {title: Figures, source: results.json, rows: {mAP: figures.mAP, count: figures.count}}
  - {title: Classes, source: results.json, each: figures.per_class, columns: {AP: ap}, digits: 2}
attribution: [Meshes by nobody.]
"""
RESULTS = {"figures": {"mAP": 0.51234, "count": 7, "per_class": {"car": {"ap": 0.678}, "bus": {"ap": None}}},
           "command": "lift3d evaluate"}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (models / "m.safetensors").write_bytes(b"\0" * 2_000_000)
    (models / f"m{CARD_TEXT}").write_text(WORDS)
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    return models


def test_figures_come_from_the_result_with_the_command_that_made_it(folder: Path) -> None:
    card = write_card("m", ENTRY, folder).read_text()
    assert "| mAP | 0.512 |" in card
    assert "| count | 7 |" in card
    assert "| car | 0.68 |" in card
    assert "| bus | - |" in card
    assert "`lift3d evaluate`" in card
    assert "2.0 MB" in card
    assert ENTRY.sha256 is not None
    assert ENTRY.sha256 in card


def test_the_name_of_a_figure_may_have_a_point(folder: Path) -> None:
    words = WORDS.replace("count: figures.count", "count: figures.f_score_0.05.mean")
    (folder / f"m{CARD_TEXT}").write_text(words)
    results = {"figures": {"mAP": 0.5, "per_class": {"car": {"ap": 0.7}}, "f_score_0.05": {"mean": 0.25}}}
    (folder.parent / "results.json").write_text(json.dumps(results))
    assert "| count | 0.250 |" in write_card("m", ENTRY, folder).read_text()


def test_a_figure_that_is_not_in_the_result_is_named(folder: Path) -> None:
    (folder.parent / "results.json").write_text(json.dumps({"figures": {}}))
    with pytest.raises(Lift3dError, match=r"results\.json: table 'Figures': there is no 'figures\.mAP'"):
        write_card("m", ENTRY, folder)


def test_a_missing_result_and_missing_words_are_named(folder: Path) -> None:
    (folder.parent / "results.json").unlink()
    with pytest.raises(Lift3dError, match=r"results\.json"):
        write_card("m", ENTRY, folder)
    with pytest.raises(ConfigError, match=r"other\.card\.yaml"):
        write_card("other", ENTRY, folder)


def test_the_cards_of_the_package_are_those_that_the_writer_makes(repository: Path) -> None:
    models = repository / "models"
    for name, entry in read_manifest(models / "manifest.yaml").items():
        if entry.weights is None:
            continue
        text = load_yaml(CardText, models / f"{name}{CARD_TEXT}")
        assert render_card(name, entry, text, models) == (models / f"{name}.md").read_text(encoding="utf-8"), name
