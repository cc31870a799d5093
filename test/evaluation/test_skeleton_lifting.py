"""The evaluation of the skeleton lifter: floors, conditions, and what it says of uncertainty and mirror image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifting_files import FlatShapes, flat_engine, write_h3wb, write_pairs, write_set

from lift3d_ros.evaluation.skeleton_files import FileChoice, read_skeleton_files
from lift3d_ros.evaluation.skeleton_lifting import CLEAN, Condition, SkeletonEvaluation, evaluate_skeletons
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig

CONDITIONS = (
    Condition(CLEAN, "clean"),
    Condition("sides_unknown", "sides unknown", uses_sides=False),
    Condition("damaged", "damaged", missing=0.3, noise=0.02),
    Condition("without_leaves", "without end joints", has_leaves=False),
    Condition("near", "near", distance=3.0),
)


def evaluate(path: Path, engine: FlatShapes | None = None, **choice: Any) -> SkeletonEvaluation:
    files, problems = read_skeleton_files(path, FileChoice(**choice))
    return evaluate_skeletons(flat_engine(engine), SkeletonLiftingConfig(), files, problems, CONDITIONS)


def test_a_lifter_without_depth_scores_as_the_flat_guess(tmp_path: Path) -> None:
    figures = evaluate(write_set(tmp_path / "bird.npz")).to_json()
    record = figures["per_file"]["bird.npz"]
    assert record["ratio_to_flat"] == pytest.approx(1.0, abs=1e-6)
    assert record["ratio_to_flat_best"] == pytest.approx(1.0, abs=1e-6)
    assert record["conditions"]["without_leaves"]["ratio_to_flat"] == pytest.approx(1.0, abs=1e-6)
    assert figures["summary"][CLEAN]["all"]["median_ratio_to_flat"] == pytest.approx(1.0, abs=1e-6)
    assert (record["not_lifted"], record["split"], record["joints"]) == (0, "val", 20)
    assert set(record["conditions"]) == {"sides_unknown", "damaged", "without_leaves", "near"}


class TrueShapes(FlatShapes):
    """Gives the true shape of a set that it was told, or its mirror image, whatever the points are."""

    def __init__(self, joints: np.ndarray[Any, Any], *, is_mirrored: bool) -> None:
        super().__init__()
        self._joints, self._sign = joints, -1.0 if is_mirrored else 1.0

    def run(self, inputs: Any, state: Any) -> Any:
        outputs = super().run(inputs, state)
        count = len(inputs["points"])
        shape = self._joints[:count] * np.array([self._sign, 1.0, 1.0])
        size = np.sqrt((shape**2).sum(axis=2).mean(axis=1))
        return {**outputs, "shape": (shape / size[:, None, None]).astype(np.float32)}


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_the_right_shape_scores_zero_and_its_mirror_image_only_as_the_better_of_both(
    tmp_path: Path, is_mirrored: bool
) -> None:
    files, _ = read_skeleton_files(write_set(tmp_path / "bird.npz"), FileChoice())
    content: Any = files[0].content
    engine = TrueShapes(content.joints[files[0].frames], is_mirrored=is_mirrored)
    result = evaluate_skeletons(flat_engine(engine), SkeletonLiftingConfig(), files, {}, CONDITIONS[:1])
    record = result.to_json()["per_file"]["bird.npz"]
    assert record["ratio_to_flat_best"] < 0.01
    assert record["pa_mpjpe_reflected"] < 0.01 * record["flat_guess_pa"]
    if is_mirrored:
        assert record["ratio_to_flat"] > 0.5
        assert record["sign_rate"] == 0.0
        # It said 95 %, and was never right.
        assert result.mirror[-1].found == 0.0
    else:
        assert record["ratio_to_flat"] < 0.01
        assert record["mpjpe"] < 0.01 * record["flat_guess_pa"]
        assert (record["pck"], record["sign_rate"]) == (1.0, 1.0)
        assert record["bone_length_error"] < 0.01
    assert result.mirror[-1].stated == pytest.approx(1.0 / (1.0 + np.exp(-3.0)), abs=0.01)


def test_sides_reach_the_network_only_where_they_are_known(tmp_path: Path) -> None:
    engine = FlatShapes()
    files, _ = read_skeleton_files(write_set(tmp_path / "bird.npz"), FileChoice())
    evaluate_skeletons(flat_engine(engine), SkeletonLiftingConfig(), files, {}, CONDITIONS[:2])
    assert [bool(sides.any()) for sides in engine.sides] == [True, False]


def test_frames_that_the_lifter_refuses_count_as_the_flat_guess(tmp_path: Path) -> None:
    path = write_set(tmp_path / "points.npz", joints=np.zeros((40, 20, 3), np.float16))
    record = evaluate(path).to_json()["per_file"]["points.npz"]
    assert record["not_lifted"] == record["frames"]
    assert record["pa_mpjpe"] == 0.0
    assert np.isnan(record["ratio_to_flat"])


def test_cameras_and_whole_bodies_have_records_without_the_conditions_that_need_other_views(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.npz")
    write_h3wb(tmp_path / "h3wb.json")
    figures = evaluate(tmp_path).to_json()
    pairs, whole_body = figures["per_file"]["pairs.npz"], figures["per_file"]["h3wb.json"]
    assert pairs["frames"] == 12
    assert set(pairs["conditions"]) == {"sides_unknown", "damaged", "without_leaves"}
    assert set(whole_body["h3wb"]) == {
        "whole_body", "body", "face", "hands", "face_nose_aligned", "hands_wrist_aligned"
    }  # fmt: skip
    assert 50.0 < whole_body["h3wb"]["whole_body"] < 1000.0


def test_files_that_are_not_for_shipped_weights_stand_apart(tmp_path: Path) -> None:
    for name in ("bird", "nc_bird"):
        write_set(tmp_path / f"{name}.npz")
    figures = evaluate(tmp_path).to_json()
    assert figures["per_file"]["nc_bird.npz"]["is_non_commercial"]
    assert {name: row["files"] for name, row in figures["summary"][CLEAN].items()} == {
        "all": 1, "other": 1, "nc_ files": 1
    }  # fmt: skip


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    write_set(tmp_path / "bird.npz")
    assert evaluate(tmp_path).to_json() == evaluate(tmp_path).to_json()


def test_a_file_of_lines_has_no_ratio_and_the_notes_say_why(tmp_path: Path) -> None:
    line = np.linspace(-1.0, 1.0, 20)[None, :, None] * np.ones(3)
    write_set(tmp_path / "line.npz", joints=np.repeat(line, 40, axis=0).astype(np.float32))
    found = evaluate(tmp_path / "line.npz")
    assert any(note.startswith("No ratio of line.npz") for note in found.to_json()["notes"])
    assert found.summary()["clean"] == {}


@pytest.mark.parametrize(
    ("asked", "files"),
    [("train", ["h3wb.json", "pairs.npz"]), ("val", ["bird.npz", "h3wb.json", "pairs.npz"]), ("all", [])],
)
def test_files_without_a_frame_of_the_split_are_said_to_be_scored_whole(
    tmp_path: Path, asked: str, files: list[str]
) -> None:
    write_set(tmp_path / "bird.npz", split=np.zeros(40, np.uint8))
    write_pairs(tmp_path / "pairs.npz")
    write_h3wb(tmp_path / "h3wb.json")
    notes = [note for note in evaluate(tmp_path, split=asked).notes if "the split that was asked for" in note]
    expected = [f"All frames are scored of {', '.join(files)}"] if files else []
    assert [note.split(": ")[0] for note in notes] == expected
