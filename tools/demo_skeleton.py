"""The demo of skeleton lifting: pictures of 2D keypoints beside the lifted skeleton from two directions, on one page.

Real people where the reference data lie, each from one photograph without calibration. Without them motion that this
package makes itself: a walking person, animals, a hand and machines, with their true joints beside the lifted ones.

  make demo-skeleton
  make demo-skeleton DEMO_WEIGHTS=run/best.safetensors      weights of your own training
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.config import from_mapping
from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_json import read_keypoint_file
from lift3d_ros.datasets.keypoint_rigs import Figure, sample_figure
from lift3d_ros.datasets.keypoint_vehicles import rigid_figures
from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.evaluation.lifted_views import lift_views
from lift3d_ros.evaluation.run_report import REPORT_FILE, jpeg_bytes, versions
from lift3d_ros.evaluation.skeleton_report import comparison_picture
from lift3d_ros.evaluation.skeleton_views import views_of
from lift3d_ros.evaluation.skeletons import rms_sizes
from lift3d_ros.geometry.skeleton import load_skeleton
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig, open_skeleton_lifter
from lift3d_ros.types import Float64Array, Skeleton3D, UInt8Array
from lift3d_ros.viz.evaluation_page import EvaluationPage, PagePicture, PictureGroup, write_evaluation_page
from lift3d_ros.viz.skeletons import skeleton_sheet

ROOT = Path(__file__).resolve().parents[1]
KEYPOINTS_FILE = "keypoints_coco17.json"
PICTURES_FOLDER = "pictures"
INTERRUPTED = 130  # exit status after Ctrl-C
WALKING_FRAMES = 6
LEGEND = "The object's own left is orange, its right blue; hollow joints were not seen and are only completed. "
PEOPLE_NOTE = (
    "There is no 3D truth for these photographs, and no calibration: nothing is in metres, and what stands nearer than "
    "what is the network's answer. Thin dark lines: the other mirror image, where nothing decided between both."
)
MADE_NOTE = "Every view is drawn by parallel projection from a random direction; the true joints stand on the right."


def main() -> int:
    """Lift, draw, write the page and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--people", type=Path, help=f"folder with pictures and {KEYPOINTS_FILE} (default: reference data)"
    )
    parser.add_argument("--made", action="store_true", help="lift motion that this package makes, also beside people")
    parser.add_argument("--model", default="lift3d-lfm", help="model name, or an .onnx file (default %(default)s)")
    parser.add_argument("--weights", type=Path, help="weights.safetensors of a training, in place of --model")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "demo-skeleton", help="results (default %(default)s)"
    )
    args = parser.parse_args()
    try:
        people = people_folder(args.people)
        model = str(args.weights or args.model)
        lifter = open_skeleton_lifter(from_mapping(SkeletonLiftingConfig, {"model": model}, "--model"))
        groups = []
        if people is not None:
            groups.append(PictureGroup("Real people", LEGEND + PEOPLE_NOTE, tuple(lifted_people(lifter, people))))
        if people is None or args.made:
            groups.append(PictureGroup("Motion made here", LEGEND + MADE_NOTE, tuple(lifted_motion(lifter))))
        page = write(groups, lifter, args.out)
    except (Lift3dError, OSError) as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"report: {page}")
    return 0


def people_folder(given: Path | None) -> Path | None:
    """Return the folder of people, None where none was given and the reference data are not there."""
    shared = Path(os.environ.get("LIFT3D_SHARED_DIR", ROOT.parent / "shared"))
    folder = shared / "data" / "people" if given is None else given
    if (folder / KEYPOINTS_FILE).is_file():
        return folder
    if given is not None:
        raise DatasetError(f"--people {given}: has no {KEYPOINTS_FILE}; give a folder of pictures with their keypoints")
    print(f"demo: no people in {folder}, so motion that this package makes is lifted", flush=True)
    return None


def lifted_people(lifter: SkeletonLifter, folder: Path) -> Iterator[PagePicture]:
    """Yield one picture for each photograph with keypoints, and print what came out."""
    content = read_keypoint_file(folder / KEYPOINTS_FILE)
    for number, picture in enumerate(content.pictures):
        if not picture.instances:
            continue
        frame = KeypointFrame(number, picture.instances, content.skeletons)
        result = lifter.infer(lifter.prepare(frame))
        bgr = cv2.imread(str(folder / picture.name), cv2.IMREAD_COLOR)
        rgb: UInt8Array | None = None if bgr is None else np.ascontiguousarray(bgr[:, :, ::-1])
        lines = [describe(skeleton) for skeleton in result.skeletons]
        print(f"{picture.name}: {'; '.join(lines)}", flush=True)
        sheet = skeleton_sheet(rgb, picture.instances, result)
        yield PagePicture(f"{picture.name}:", jpeg_bytes(sheet), "; ".join(lines))


def describe(skeleton: Skeleton3D) -> str:
    """Return what can be said of a lifted skeleton without knowing the truth."""
    seen = skeleton.joints[skeleton.is_observed]
    depth, height = np.ptp(seen[:, 2]), np.ptp(seen[:, :2], axis=0).max()
    mirror = "mirror image undecided" if skeleton.mirror_cue == "undecided" else f"by {skeleton.mirror_cue}"
    return (
        f"depth {depth / height:.2f} of the extent, {len(seen)} of {len(skeleton.joints)} joints seen, "
        f"{mirror} ({skeleton.probabilities[0]:.0%})"
    )


def lifted_motion(lifter: SkeletonLifter) -> Iterator[PagePicture]:
    """Yield pictures of motion that is made here, with the truth beside, and print the errors."""
    for keypoints in (walking_person(), *(made(figure) for figure in (*creatures(), *rigid_figures()))):
        frames = np.linspace(0, len(keypoints.joints) - 1, 2).astype(np.int64)
        lifted = lift_views(lifter, views_of(keypoints, frames))
        errors = np.nanmean(lifted.errors, axis=1) / rms_sizes(lifted.views.joints, lifted.views.is_valid)
        print(f"{keypoints.name}: errors {', '.join(f'{error:.2f}' for error in errors)} RMS sizes", flush=True)
        for row, error in enumerate(errors):
            caption = f"error {error:.2f} RMS sizes after alignment without reflection"
            yield PagePicture(f"{keypoints.name}, {row}:", jpeg_bytes(comparison_picture(lifted, row)), caption)


def made(figure: Figure) -> KeypointSet:
    """Return a few frames of a figure."""
    return sample_figure(figure, subjects=2, frames=2, seed=1)


def walking_person(frames: int = WALKING_FRAMES) -> KeypointSet:
    """Return a person with the joints of COCO who walks, by forward kinematics: x forward, y left, z up, metres."""
    facts = load_skeleton("coco17")
    joints = np.stack([_walking_pose(2 * np.pi * number / frames) for number in range(frames)])
    joints -= joints.mean(axis=1, keepdims=True)
    return KeypointSet(
        "walking_person",
        joints.astype(np.float32),
        facts.skeleton.edges,
        facts.skeleton.joint_names,
        facts.skeleton.sides,
        np.ones(joints.shape[:2], dtype=bool),
        np.zeros(frames, dtype=np.int32),
        np.ones(frames, dtype=bool),
    )


def _walking_pose(phase: float) -> Float64Array:
    """Return the joints (17, 3) at a phase of the walking cycle."""
    points = {"nose": np.array([0.13, 0.0, 1.62])}
    for side, sign, turn in (("left", 1.0, phase), ("right", -1.0, phase + np.pi)):
        thigh = 0.45 * np.sin(turn)
        shin = thigh - 0.1 - 0.8 * max(0.0, float(np.cos(turn))) ** 2
        arm = -0.45 * np.sin(turn)
        points[f"{side}_eye"] = np.array([0.105, 0.032 * sign, 1.655])
        points[f"{side}_ear"] = np.array([0.01, 0.075 * sign, 1.635])
        points[f"{side}_shoulder"] = np.array([0.0, 0.175 * sign, 1.42])
        points[f"{side}_elbow"] = points[f"{side}_shoulder"] + 0.28 * _hanging(arm, 0.15 * sign)
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + 0.25 * _hanging(arm + 0.45, 0.0)
        points[f"{side}_hip"] = np.array([0.0, 0.1 * sign, 0.92])
        points[f"{side}_knee"] = points[f"{side}_hip"] + 0.42 * _hanging(thigh, 0.0)
        points[f"{side}_ankle"] = points[f"{side}_knee"] + 0.41 * _hanging(shin, 0.0)
    return np.stack([points[name] for name in load_skeleton("coco17").skeleton.joint_names])


def _hanging(forward: float, aside: float) -> Float64Array:
    """Return the direction of a limb that hangs down, swung forward and aside by angles."""
    return np.array([np.sin(forward) * np.cos(aside), np.sin(aside), -np.cos(forward) * np.cos(aside)])


def write(groups: list[PictureGroup], lifter: SkeletonLifter, out: Path) -> Path:
    """Write the pictures as files and all of them on one page; return the page."""
    folder = out / PICTURES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()  # of an earlier demo
    for group in groups:
        for picture in group.pictures:
            name = picture.title.rstrip(":").replace(", ", "_").removesuffix(".jpg")
            (folder / f"{name}.jpg").write_bytes(picture.jpeg)
    model = lifter.identity
    page = EvaluationPage(
        title="Skeleton lifting demo",
        subtitle=f"{sum(len(group.pictures) for group in groups)} pictures; {model.description}",
        headline=(),
        tables=(),
        banner="" if model.is_trained else f"{model.description}: the skeletons mean nothing",
        groups=tuple(groups),
        facts={"model": model.description, "weights SHA-256": model.weights_sha256, **versions()},
    )
    write_evaluation_page(out / REPORT_FILE, page)
    return out / REPORT_FILE


if __name__ == "__main__":
    sys.exit(main())
