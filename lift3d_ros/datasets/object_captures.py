"""Posed pictures of single objects: folders with a NeRF-style ``transforms.json``, and those of OpenLRM.

- ``transforms.json``: `frames` with `file_path` and `transform_matrix` (camera to world, axes of OpenGL), and the
  focal length as `fl_x` (px) or `camera_angle_x` (rad), of all frames or of each. `cx` and `cy` count from the border;
  pictures with `k1`, `k2`, `p1`, `p2`, `k3` are undistorted, those with `camera_model` OPENCV_FISHEYE by `k1` to `k4`.
- OpenLRM: ``rgba/NNN.png``, ``pose/NNN.npy`` (3x4, camera to world, axes of OpenGL) and ``intrinsics.npy`` with the
  rows (fx, fy), (cx, cy), (width, height).

Pictures are PNG with alpha: what is transparent is not the object. One folder is one object. Letters: V views.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.array_files import read_array
from lift3d_ros.datasets.object_pack import Named, PackSizes, write_object_pack
from lift3d_ros.datasets.object_views import ObjectViews
from lift3d_ros.errors import CalibrationError, DatasetError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.images.rectify import Rectification
from lift3d_ros.models.lrm.config import LrmConfig, ObjectImageConfig
from lift3d_ros.models.lrm.object_image import foreground_box, pad_object
from lift3d_ros.types import CameraModel, DistortionModel, Float64Array, UInt8Array

TRANSFORMS = "transforms.json"
INTRINSICS = "intrinsics.npy"

_CAMERA_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE")
_OPTICAL_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class PosedPicture:
    """A file, its camera to world (4, 4) in the axes of OpenGL, and (3, 3) intrinsics in px from the picture's border.

    Args:
        angle_x: horizontal field of view, rad, which counts where `intrinsics` is None.
        distortion_model, distortion: of the lens, as in :class:`CameraModel`.
    """

    path: Path
    pose: Float64Array
    intrinsics: Float64Array | None
    angle_x: float = 0.0
    distortion_model: DistortionModel = "none"
    distortion: tuple[float, ...] = ()


def pack_captures(
    folders: Sequence[Path],
    out: Path,
    config: LrmConfig,
    num_views: int,
    on_object: Callable[[int, int], object] = lambda done, total: None,
) -> int:
    """Write folders of posed pictures, or folders of such folders, as a pack; return how many objects it has.

    Args:
        num_views: of each object: evenly from those that are there, which come again where they are fewer.

    Raises:
        DatasetError: no such folder, or a file is missing or wrong; names it.
    """
    objects = [path for folder in folders for path in find_captures(folder)]
    sizes = PackSizes(config.image.side, num_views, 0, config.view.focal, config.image.fill)

    def read() -> Iterator[Named]:
        for path in objects:
            yield path.name, read_capture(path, config.image, num_views)

    source = f"{len(objects)} folders of posed pictures"
    write_object_pack(out, read(), len(objects), sizes, source, lambda done: on_object(done, len(objects)))
    return len(objects)


def write_picture(
    path: Path, rgba: UInt8Array, T_object_camera: Float64Array, intrinsics: Float64Array
) -> PosedPicture:
    """Write a picture (H, W, 4) and return what a ``transforms.json`` says of it.

    Args:
        T_object_camera: (4, 4) pose of the optical frame.
        intrinsics: (3, 3), px from the centre of the first pixel, as ROS and OpenCV count.

    Raises:
        DatasetError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", rgba[..., [2, 1, 0, 3]])[1].tobytes())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from None
    from_border = np.array(intrinsics, dtype=np.float64)
    from_border[:2, 2] += 0.5
    return PosedPicture(path, T_object_camera @ _OPTICAL_FROM_OPENGL, from_border)


def write_transforms(folder: Path, pictures: Sequence[PosedPicture]) -> None:
    """Write the ``transforms.json`` of pictures in `folder`, each with its own intrinsics.

    Raises:
        DatasetError: the file cannot be written.
    """
    frames = []
    for posed in pictures:
        assert posed.intrinsics is not None
        (fx, _, cx), (_, fy, cy), _ = posed.intrinsics.tolist()
        place = {"file_path": posed.path.relative_to(folder).as_posix(), "transform_matrix": posed.pose.tolist()}
        frames.append({**place, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy})
    path = folder / TRANSFORMS
    try:
        path.write_text(json.dumps({"frames": frames}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from None


def find_captures(folder: Path) -> list[Path]:
    """Return the folder where it holds one object, or those in it that do, sorted.

    Raises:
        DatasetError: there is none.
    """
    candidates = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    found = [path for path in candidates if (path / TRANSFORMS).is_file() or (path / INTRINSICS).is_file()]
    if not found:
        raise DatasetError(
            f"{folder}: neither this folder nor one in it has {TRANSFORMS} or {INTRINSICS}; expected posed pictures, "
            "or meshes with manifest.json. See docs/lrm.md"
        )
    return [folder] if found[0] == folder else found


def read_capture(folder: Path, image: ObjectImageConfig, num_views: int) -> ObjectViews:
    """Return views of an object, each cropped so that the object is in the middle.

    Raises:
        DatasetError: a file is missing or wrong, or the cameras all look in one direction.
    """
    posed = _transforms(folder) if (folder / TRANSFORMS).is_file() else _openlrm(folder)
    if len(posed) < 2:
        raise DatasetError(f"{folder}: {len(posed)} posed pictures; expected at least 2")
    chosen = np.linspace(0, len(posed) - 1, min(num_views, len(posed))).round().astype(int)
    views = [_framed(posed[index], image) for index in np.resize(chosen, num_views)]
    poses = np.stack([one.pose @ _OPTICAL_FROM_OPENGL for one in (posed[i] for i in np.resize(chosen, num_views))])
    intrinsics = np.stack([matrix for _, matrix in views])
    return ObjectViews(np.stack([rgba for rgba, _ in views]), poses, intrinsics, _distances(folder, poses, intrinsics))


def _framed(posed: PosedPicture, image: ObjectImageConfig) -> tuple[UInt8Array, Float64Array]:
    """Return the cropped picture (side, side, 4) and its intrinsics in units of the side."""
    stored = cv2.imread(str(posed.path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise DatasetError(f"{posed.path}: is missing or no picture that can be decoded")
    if stored.ndim != 3 or stored.shape[2] != 4 or stored.dtype != np.uint8:
        raise DatasetError(f"{posed.path}: has no alpha of 8 bits; expected a PNG whose background is transparent")
    rgba = np.ascontiguousarray(stored[..., [2, 1, 0, 3]])
    if not rgba[..., 3].any():
        raise DatasetError(f"{posed.path}: is transparent all over; take it out of the folder")
    height, width = rgba.shape[:2]
    matrix = posed.intrinsics
    if matrix is None:
        focal = 0.5 * width / math.tan(0.5 * posed.angle_x)
        matrix = np.array([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])
    if posed.distortion_model != "none":
        rgba, matrix = _undistorted(posed, rgba, matrix)
    box = foreground_box(rgba[..., 3])
    if box is None:
        raise DatasetError(f"{posed.path}: the object is too far from the optical axis; take the picture out")
    padded = pad_object(rgba, box, image.fill)
    placed = foreground_box(padded[..., 3])
    assert placed is not None
    moved = matrix.copy()
    moved[:2, 2] -= (box.left - placed.left, box.top - placed.top)
    moved[:2] /= padded.shape[0]
    # Averaged with alpha, so that colours behind transparent pixels do not count.
    alpha = padded[..., 3:].astype(np.float32)
    shrinks = padded.shape[0] > image.side
    size = (image.side, image.side)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(np.concatenate([padded[..., :3] * (alpha / 255.0), alpha], axis=2), size, interpolation=method)
    small[..., :3] /= np.maximum(small[..., 3:] / 255.0, 1e-6)
    return np.rint(np.clip(small, 0.0, 255.0)).astype(np.uint8), moved


def _undistorted(posed: PosedPicture, rgba: UInt8Array, from_border: Float64Array) -> tuple[UInt8Array, Float64Array]:
    """Return a picture as a pinhole camera sees it, and that camera's intrinsics, counted from the border."""
    height, width = rgba.shape[:2]
    half_pixel = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    lens = np.array(posed.distortion)
    try:
        camera = CameraModel(posed.path.name, "", width, height, from_border - half_pixel, posed.distortion_model, lens)
        rectification = Rectification.fit(camera, width, height, 0.0)
    except CalibrationError as error:
        raise DatasetError(f"{posed.path.parent}: {error}") from None
    return rectification.apply(rgba), rectification.intrinsics + half_pixel


def _distances(folder: Path, poses: Float64Array, intrinsics: Float64Array) -> Float64Array:
    """Return along each optical axis the place of the point that is nearest to the middles of all pictures, (V,)."""
    middle = np.concatenate([(0.5 - intrinsics[:, :2, 2]) / intrinsics[:, [0, 1], [0, 1]], np.ones((len(poses), 1))], 1)
    rays = np.einsum("vij,vj->vi", poses[:, :3, :3], middle)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - rays[:, :, None] * rays[:, None]
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 1e-3 * len(poses):
        raise DatasetError(f"{folder}: all cameras look in nearly the same direction; expected them around the object")
    center = np.linalg.solve(total, np.einsum("vij,vj->i", across, poses[:, :3, 3]))
    distances = np.einsum("vj,vj->v", poses[:, :3, 2], center - poses[:, :3, 3])
    if not (distances > 0.0).all():
        raise DatasetError(
            f"{folder}: camera {int(np.argmin(distances))} has the object behind it; expected poses from camera to "
            "world, in the axes of OpenGL (x right, y up, z backward)"
        )
    return np.asarray(distances)


def _transforms(folder: Path) -> list[PosedPicture]:
    path = folder / TRANSFORMS
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return [_frame(folder, {**document, **frame}) for frame in document["frames"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DatasetError(
            f"{path}: expected 'frames' with file_path and transform_matrix, and camera_angle_x, or fl_x with cx and "
            f"cy or w and h ({found})"
        ) from None


def _frame(folder: Path, fields: Mapping[str, Any]) -> PosedPicture:
    name = str(fields["file_path"])
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DatasetError(
            f"{folder / TRANSFORMS}: file_path '{name}' lies outside the folder; keep pictures beside it"
        )
    if not path.suffix:
        path = path.with_suffix(".png")
    pose = _pose(fields["transform_matrix"], folder / TRANSFORMS)
    lens = _lens(fields, folder / TRANSFORMS)
    if "fl_x" not in fields:
        angle = float(fields["camera_angle_x"])
        if not 0.0 < angle < math.pi:
            raise ValueError(f"camera_angle_x is {angle}")
        return PosedPicture(path, pose, None, angle, *lens)
    fx, fy = float(fields["fl_x"]), float(fields.get("fl_y", fields["fl_x"]))
    cx = float(fields["cx"]) if "cx" in fields else 0.5 * float(fields["w"])
    cy = float(fields["cy"]) if "cy" in fields else 0.5 * float(fields["h"])
    return PosedPicture(path, pose, _intrinsics(fx, fy, cx, cy), 0.0, *lens)


def _lens(fields: Mapping[str, Any], where: Path) -> tuple[DistortionModel, tuple[float, ...]]:
    """Return the distortion that a frame tells of: "none" where all its coefficients are 0."""
    name = str(fields.get("camera_model", "OPENCV"))
    is_fisheye = name == "OPENCV_FISHEYE" or bool(fields.get("is_fisheye", False))
    if name not in _CAMERA_MODELS:
        raise DatasetError(
            f"{where}: camera_model '{name}' is not known; known: {', '.join(_CAMERA_MODELS)}. Undistort the pictures"
        )
    names = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
    coefficients = tuple(float(fields.get(one, 0.0)) for one in names)
    if is_fisheye:
        return "equidistant", coefficients
    if float(fields.get("k4", 0.0)) != 0.0:
        raise DatasetError(f"{where}: k4 is {fields['k4']}; only OPENCV_FISHEYE has it. Undistort the pictures")
    return ("plumb_bob", coefficients) if any(coefficients) else ("none", ())


def _openlrm(folder: Path) -> list[PosedPicture]:
    path = folder / INTRINSICS
    try:
        (fx, fy), (cx, cy), _ = _numbers(path).tolist()
        matrix = _intrinsics(fx, fy, cx, cy)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: expected rows (fx, fy), (cx, cy), (width, height) ({error})") from None
    pictures = []
    for file in sorted((folder / "pose").glob("*.npy")):
        try:
            pose = _pose(_numbers(file), file)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{file}: expected a pose of 3x4 numbers ({error})") from None
        pictures.append(PosedPicture(folder / "rgba" / f"{file.stem}.png", pose, matrix))
    return pictures


def _numbers(path: Path) -> Float64Array:
    """Return the array of a file.

    Raises:
        OSError, ValueError: it is missing, damaged, or holds something else.
    """
    return np.asarray(read_array(path), dtype=np.float64)


def _intrinsics(fx: float, fy: float, cx: float, cy: float) -> Float64Array:
    """Return the matrix (3, 3); raises ValueError for what no camera has."""
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    if not (np.isfinite(matrix).all() and fx > 0.0 and fy > 0.0):
        raise ValueError(f"focal lengths {fx:g} and {fy:g}, middle at {cx:g}, {cy:g}; expected finite, above 0")
    return matrix


def _pose(values: Any, where: Path) -> Float64Array:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
        raise DatasetError(f"{where}: a pose has shape {matrix.shape}; expected 3x4 or 4x4 finite numbers")
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) or np.linalg.det(rotation) < 0.0:
        raise DatasetError(f"{where}: a pose is no rotation and translation; expected camera to world without scale")
    return make_transform(rotation, matrix[:3, 3])
