"""`lift3d lift`: lift the 2D keypoints of pictures to 3D skeletons."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli.pictures import PICTURES_FOLDER, write_picture
from lift3d_ros.pipelines.backends import BACKENDS

if TYPE_CHECKING:
    from lift3d_ros.datasets.keypoint_json import PictureKeypoints
    from lift3d_ros.geometry.skeleton import SkeletonFacts
    from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
    from lift3d_ros.pipelines.skeleton_scale import KnownLength
    from lift3d_ros.types import CameraModel, Float64Array, UInt8Array

SKELETONS_FILE = "skeletons.json"
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

DESCRIPTION = """\
Lift the 2D keypoints of pictures to 3D skeletons.

KEYPOINTS.json is what common detectors write: COCO annotations, COCO results (YOLO pose, MMPose, ViTPose), MediaPipe
landmarks or OpenPose people. The skeleton is taken from the file, or named: a file of config/skeletons or your own.

  lift3d lift keypoints.json --image pictures --out lifted
  lift3d lift landmarks.json --image me.jpg --camera camera.yaml --out lifted
  lift3d lift results.json --skeleton ap10k17 --camera rig.yaml:front --length left_knee:left_back_paw=0.21 --out lifted

With a camera (a rig file, or what camera_calibration writes) joints are in metres in its optical frame: x right, y
down, z forward. Scale comes from --length, else from the usual size of the category. Without one they are normalised.
A picture from far away does not tell a pose from its depth-reversed copy: both are written, with probabilities.

Pictures have no times, so each is lifted alone; tracks are for 'lift3d replay --task skeleton_lifting'.

DIR receives skeletons.json and, unless --no-pictures is given, a picture of each: 2D input, and 3D from two sides.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "lift",
        help="lift 2D keypoints to 3D skeletons",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("keypoints", type=Path, metavar="KEYPOINTS.json", help="keypoints of one or many pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results and pictures")
    parser.add_argument(
        "--image",
        type=Path,
        metavar="PATH",
        help="the picture, or the folder of all: found by name, or by number as in COCO",
    )
    parser.add_argument("--camera", metavar="FILE[:NAME]", help="calibration, or rig file with the camera's name")
    parser.add_argument("--skeleton", metavar="NAME", help="skeleton of all instances, or a .yaml file")
    parser.add_argument("--model", help="a name of 'lift3d weights list', a .safetensors or an .onnx file")
    parser.add_argument("--backend", choices=BACKENDS, help="runtime of the network")
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="parameter file of the node, or YAML with model, lifter, mirror, engine",
    )
    parser.add_argument(
        "--length", action="append", default=[], metavar="A:B=M", help="distance of two joints in metres; repeatable"
    )
    parser.add_argument("--pitch", type=float, metavar="DEG", help="the camera looks down by this angle, without roll")
    parser.add_argument("--no-pictures", action="store_true", help="write results only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Lift and say where the results are."""
    import json

    from lift3d_ros.datasets.keypoint_json import read_keypoint_file
    from lift3d_ros.errors import ConfigError, DatasetError
    from lift3d_ros.geometry.camera_file import load_camera_option
    from lift3d_ros.geometry.skeleton import load_skeleton
    from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
    from lift3d_ros.pipelines.skeleton_lifting import open_skeleton_lifter
    from lift3d_ros.pipelines.skeleton_scale import KnownLength
    from lift3d_ros.replay.skeleton_results import skeletons_to_json

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    skeleton = None if args.skeleton is None else load_skeleton(args.skeleton)
    known_lengths = tuple(KnownLength.parse(text, "--length") for text in args.length)
    only_picture = _read_picture(args.image) if args.image is not None and args.image.is_file() else None
    image_size = None if only_picture is None else (only_picture.shape[1], only_picture.shape[0])
    content = read_keypoint_file(args.keypoints, skeleton, image_size)
    _check_lengths(known_lengths, content.skeletons)
    if known_lengths and args.camera is None:
        raise ConfigError("--length has no effect without --camera: joints are normalised then; add it")
    camera = None if args.camera is None else load_camera_option(args.camera)
    up = _up(args.pitch)
    config = _config_of(args)
    pictures = _chosen(args, content.pictures, has_one=only_picture is not None)
    paths = {} if args.image is None or only_picture is not None else _picture_paths(args.image, pictures)
    lifter = open_skeleton_lifter(config)
    args.out.mkdir(parents=True, exist_ok=True)
    written, count, misfits, names = [], 0, 0, _file_names([picture.name for picture in pictures])
    for number, picture in enumerate(pictures):
        rgb = only_picture
        if rgb is None and args.image is not None:
            rgb = _picture_or_none(paths[picture.name])
        fitted = None if camera is None else _fitted(camera, picture, rgb)
        misfits += fitted is None
        frame = KeypointFrame(
            stamp_ns=number,
            instances=picture.instances,
            skeletons=content.skeletons,
            frame_id="" if fitted is None else fitted.frame_id,
            camera=fitted,
            up=up,
            known_lengths=known_lengths,
        )
        lifter.reset()  # without times nothing follows from the picture before
        result = lifter.infer(lifter.prepare(frame))
        written.append({"picture": picture.name, **skeletons_to_json(result)})
        count += len(result.skeletons)
        for problem in result.problems:
            print(f"{picture.name}: {problem}")
        if not args.no_pictures:
            from lift3d_ros.viz.skeletons import skeleton_sheet

            sheet = skeleton_sheet(rgb, picture.instances, result)
            write_picture(args.out / PICTURES_FOLDER / f"{names[number]}.jpg", sheet)
    (args.out / SKELETONS_FILE).write_text(json.dumps({"pictures": written}) + "\n", encoding="utf-8")
    if not count:
        raise DatasetError(f"{args.keypoints}: none of its instances can be lifted; the lines above say why")
    print(f"{count} skeletons of {len(pictures)} pictures ({lifter.identity.description}); results in {args.out}")
    if camera is not None and misfits == len(pictures):
        raise ConfigError(
            f"--camera {args.camera}: fits none of the pictures, so all results are normalised; give the camera that "
            "took them"
        )
    return 0


def _config_of(args: argparse.Namespace) -> SkeletonLiftingConfig:
    from lift3d_ros.cli.task_run import settings_of
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig

    config = settings_of(SkeletonLiftingConfig, args, "skeleton_lifting")
    if config.smoothing.enabled:
        raise ConfigError(
            f"{args.params}: 'smoothing.enabled' is true, and files of keypoints have no times; leave it out, or "
            "smooth a recording with 'lift3d replay --task skeleton_lifting'"
        )
    return config


def _chosen(args: argparse.Namespace, found: Sequence[PictureKeypoints], *, has_one: bool) -> list[PictureKeypoints]:
    """Return the pictures to lift: those with keypoints, or the one that --image is.

    Raises:
        ConfigError: there is none.
    """
    from lift3d_ros.errors import ConfigError

    pictures = [picture for picture in found if picture.instances]
    if not pictures:
        raise ConfigError(f"{args.keypoints}: holds no instance with keypoints; give a file with at least one")
    if has_one and len(pictures) > 1:
        chosen = [picture for picture in pictures if Path(picture.name).name == args.image.name]
        chosen = chosen or [picture for picture in pictures if args.image.stem in _stems_of(picture.name)]
        if not chosen:
            raise ConfigError(
                f"--image {args.image}: {args.keypoints} has keypoints of {len(pictures)} pictures, and none of them "
                f"has this name; give one of them, or the folder of the pictures{_number_hint(pictures[0].name)}"
            )
        return chosen
    return pictures


def _picture_paths(folder: Path, pictures: Sequence[PictureKeypoints]) -> dict[str, Path]:
    """Return where each picture lies, by its name in the file of keypoints.

    Raises:
        ImageError: one is not in the folder, or two could be meant; said before anything is lifted.
    """
    from lift3d_ros.errors import ImageError

    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in _PICTURE_ENDINGS:
            by_stem.setdefault(path.stem, []).append(path)
    found: dict[str, Path] = {}
    absent = []
    for picture in pictures:
        exact = folder / picture.name
        meant = [exact] if exact.is_file() else [p for stem in _stems_of(picture.name) for p in by_stem.get(stem, ())]
        if len(meant) > 1:
            raise ImageError(
                f"--image {folder}: picture '{picture.name}' may be {' or '.join(path.name for path in meant)}; "
                "expected one of them; move the others away"
            )
        if meant:
            found[picture.name] = meant[0]
        else:
            absent.append(picture.name)
    if absent:
        raise ImageError(
            f"--image {folder}: {len(absent)} of {len(pictures)} pictures are not there, '{absent[0]}' first; "
            f"give the folder that holds all of them, or leave --image out{_number_hint(absent[0])}"
        )
    return found


def _stems_of(name: str) -> dict[str, None]:
    """Return file names without ending that a picture may have: COCO's have its number in twelve digits."""
    return dict.fromkeys((name, name.zfill(12)) if name.isdecimal() else (name,))


def _number_hint(name: str) -> str:
    return "; the file of keypoints has numbers, not names of pictures: add 'file_name'" if name.isdecimal() else ""


def _check_lengths(lengths: tuple[KnownLength, ...], skeletons: Mapping[str, SkeletonFacts]) -> None:
    """Refuse lengths that no skeleton of the file could use."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.skeleton_scale import joint_pairs

    for length in lengths:
        problems = []
        for facts in skeletons.values():
            try:
                joint_pairs(facts, [length])
            except ConfigError as error:
                problems.append(error)
        if problems and len(problems) == len(skeletons):
            raise problems[0]


def _fitted(camera: CameraModel, picture: PictureKeypoints, rgb: UInt8Array | None) -> CameraModel | None:
    """Return the camera for the size of the picture, as it is or as the file of the keypoints tells.

    None, and a line that says so, for a picture of another shape: its skeletons can be had without metres.
    """
    from lift3d_ros.errors import CalibrationError
    from lift3d_ros.images.preprocess import scaled_to

    size = picture.size if rgb is None else (rgb.shape[1], rgb.shape[0])
    if size is None:
        return camera
    try:
        return scaled_to(camera, *size, picture.name)
    except CalibrationError:
        print(
            f"{picture.name}: is {size[0]}x{size[1]}, and --camera is for {camera.width}x{camera.height}; expected the "
            "same shape, so the camera is not used"
        )
        return None


def _up(pitch_deg: float | None) -> Float64Array | None:
    import numpy as np

    from lift3d_ros.errors import ConfigError

    if pitch_deg is None:
        return None
    if not -90.0 <= pitch_deg <= 90.0:
        raise ConfigError(f"--pitch {pitch_deg:g}: expected -90 (up) to 90 (down) degrees")
    pitch = np.deg2rad(pitch_deg)
    return np.array([0.0, -np.cos(pitch), -np.sin(pitch)])


def _read_picture(path: Path) -> UInt8Array:
    import cv2
    import numpy as np

    from lift3d_ros.errors import ImageError

    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"--image {path}: cannot be read ({error.strerror}); give an existing picture") from None
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise ImageError(f"--image {path}: is no picture that can be decoded; give a JPEG or PNG file")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def _picture_or_none(path: Path) -> UInt8Array | None:
    """Return a picture of the folder; None, and a line that says so, where it is damaged: its keypoints are not."""
    from lift3d_ros.errors import ImageError

    try:
        return _read_picture(path)
    except ImageError as error:
        print(f"{path.name}: {error}; lifted without it")
        return None


def _file_names(pictures: list[str]) -> list[str]:
    """Return a name for each picture that is safe as a file name and not used twice."""
    import itertools
    import re

    names: list[str] = []
    for picture in pictures:
        stem = re.sub(r"[^\w.-]+", "_", Path(picture).stem) or "picture"
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([stem], numbered) if name not in names))
    return names
