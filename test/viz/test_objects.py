"""A mesh is drawn where it is and in its colours; sheets and films are written as asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.lrm.cameras import look_at_origin
from lift3d_ros.viz.objects import check_film_path, mesh_picture, object_sheet, write_film

K = np.array([[0.75, 0.0, 0.5], [0.0, 0.75, 0.5], [0.0, 0.0, 1.0]])
# A square that faces a camera on -y, its left half red.
VERTICES = np.array([[-0.5, 0, -0.5], [0.5, 0, -0.5], [0.5, 0, 0.5], [-0.5, 0, 0.5]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
COLORS = np.array([[255, 0, 0], [0, 0, 255], [0, 0, 255], [255, 0, 0]], np.uint8)
FRONT = look_at_origin((0.0, -2.0, 0.0))


def test_a_mesh_is_drawn_in_its_colours_over_white() -> None:
    picture = mesh_picture(VERTICES, FACES, COLORS, FRONT, K, 80)
    # 0.75 / 2 of the side.
    rows, columns = np.nonzero((picture != 255).any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 54, 25, 54)
    assert picture[40, 27, 0] > 150 > 60 > picture[40, 27, 2]
    assert picture[40, 52, 2] > 150 > 60 > picture[40, 52, 0]


def test_guessed_parts_have_a_colour_of_their_own() -> None:
    picture = mesh_picture(VERTICES, FACES, COLORS, FRONT, K, 80, np.array([True, False, False, True]))
    seen, guessed = picture[40, 27].astype(int), picture[40, 52].astype(int)
    assert abs(seen[2] - seen[0]) < 20
    assert guessed[2] - guessed[0] > 60


def test_a_mesh_without_faces_is_a_white_picture() -> None:
    assert (
        mesh_picture(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.uint8), FRONT, K, 8) == 255
    ).all()


def test_a_sheet_holds_all_pictures_and_warns_of_untrained_weights() -> None:
    pictures = [(f"view {number}", np.full((40, 40, 3), 50 * number, np.uint8)) for number in range(5)]
    sheet = object_sheet(pictures, "tiny (untrained weights)", columns=3, cell=64)
    assert sheet.shape[1] == 3 * 70 - 6
    assert sheet.shape[0] > 2 * 64
    assert (np.abs(sheet.astype(int) - [255, 196, 0]).max(axis=2) < 40).sum() > 1000  # the banner


def test_films_are_written_in_both_formats(tmp_path: Path) -> None:
    frames = [np.full((64, 48, 3), 40 * number, np.uint8) for number in range(5)]
    write_film(tmp_path / "turn" / "film.mp4", frames)
    film = cv2.VideoCapture(str(tmp_path / "turn" / "film.mp4"))
    read = []
    while (found := film.read())[0]:
        read.append(found[1])
    assert len(read) == 5
    assert abs(int(read[3][30, 20, 0]) - 120) < 12
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    write_film(tmp_path / "film.gif", frames)
    with image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 5


def test_a_film_of_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a film that ends in \.mp4 or \.gif"):
        check_film_path(Path("film.avi"))
