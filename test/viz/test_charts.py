"""Charts are the same bytes for the same figures, and can be drawn of next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from lift3d_ros.viz.charts import (
    distance_chart,
    histogram_chart,
    precision_recall_chart,
    ratio_chart,
    reliability_chart,
)

RECALL = np.linspace(0, 1, 101)
NOTHING = np.zeros(101)


def curves() -> bytes:
    return precision_recall_chart({name: {0.5: (RECALL, 1 - RECALL), 2.0: (RECALL, NOTHING)} for name in "abcdefg"})


def errors() -> bytes:
    return histogram_chart(
        {"position, m": np.array([0.1, 0.2, 5.0]), "velocity, m/s": np.array([np.nan]), "x": NOTHING}
    )


def recall() -> bytes:
    lines = {"all": np.array([1.0, np.nan]), "car": np.array([0.5, 0.2])}
    return distance_chart(np.array([0.0, 5.0, 10.0]), lines, "recall")


def ratios() -> bytes:
    rows = {name: {"clean": 0.3, "damaged": 0.6, "near": np.nan} for name in ("horse.npz", "chair.npz")}
    return ratio_chart(rows, "flat guess")


def reliability() -> bytes:
    return reliability_chart({"probability": (np.array([0.5, 0.9]), np.array([0.6, 0.8]))})


@pytest.mark.parametrize("draw", [curves, errors, recall, ratios, reliability])
def test_a_chart_is_a_picture_of_the_same_bytes_each_time(draw: Callable[[], bytes]) -> None:
    svg = draw()
    assert svg == draw()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<dc:date" not in svg


def test_charts_of_nothing_are_drawn() -> None:
    for svg in (
        precision_recall_chart({"car": {2.0: (RECALL, NOTHING)}}),
        histogram_chart({"position, m": np.zeros(0)}),
        distance_chart(np.array([0.0, 5.0]), {"all": np.array([np.nan])}, "recall"),
    ):
        assert svg.startswith(b"<?xml")
