"""The demo of point features: what the encoder sees of the objects in a scan, and whether it finds them again.

A real scan of a table top where the reference data lie; without it, objects that this package makes itself. For each
object the page shows the three depth maps that a 2D teacher is given, what stands out to the teacher, a mask of the
pre-training, and the features as colours. Then each object is cut into two partial views without a common point, and
one is looked for among the others.

  make demo-points
  make demo-points DEMO_WEIGHTS=run/encoder.safetensors DEMO_TEACHER=teacher/weights.safetensors
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from table_objects import standing_objects

from lift3d_ros.config import from_mapping
from lift3d_ros.datasets.cloud_files import read_cloud_file
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.run_report import REPORT_FILE, jpeg_bytes, versions
from lift3d_ros.models.i2p_mae.config import MaskConfig
from lift3d_ros.models.i2p_mae.guidance import ask_teacher
from lift3d_ros.models.i2p_mae.masking import draw_masks, gumbel_noise, mask_finer_scales
from lift3d_ros.models.i2p_mae.projection import project_views
from lift3d_ros.models.i2p_mae.tokenizer import group_scales
from lift3d_ros.ops.cloud_search import nearest_points
from lift3d_ros.pipelines.point_colors import color_basis, feature_colors
from lift3d_ros.pipelines.point_encoder import PointCloudFrame, PointEncoder, PointEncoderConfig, open_point_encoder
from lift3d_ros.pipelines.point_similarity import cosine_similarity
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.simulation.road_users import make_road_user
from lift3d_ros.training.i2p_mae.teachers import LoadedTeacher, find_teacher, load_teacher
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, PointFeatures, UInt8Array
from lift3d_ros.viz.clouds import cloud_picture, cloud_sheet, value_colors
from lift3d_ros.viz.evaluation_page import EvaluationPage, PagePicture, PictureGroup, write_evaluation_page
from lift3d_ros.viz.objects import object_sheet
from lift3d_ros.viz.report_content import ReportTable

ROOT = Path(__file__).resolve().parents[1]
SCAN = Path("data") / "pointclouds" / "scans" / "rgbd_tabletop.npz"
PICTURES_FOLDER = "pictures"
INTERRUPTED = 130  # exit status after Ctrl-C
SEED = 0
CELL_PX, DRAWN_PX = 170, 340
SIDES = ("oblique", "from -y", "from +z")
MARGIN_M = 0.01
MADE_CLASSES = (
    "car", "bus", "truck", "pedestrian", "bicycle", "motorcycle", "traffic_cone", "barrier", "construction_vehicle",
)  # fmt: skip
MADE_POINTS, MADE_COLUMNS, MADE_SPACING_M = 4000, 3, (15.0, 7.0)
IN_FIGURE = ("car", "pedestrian", "bicycle")
VISIBLE, HIDDEN = (30, 110, 200), (214, 214, 214)
SHARE_OF_VIEW = 0.7
CUTS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.7, 0.7, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class DemoScene:
    """A cloud (N, 3) with z up, its colours (N, 3), and the points of each object."""

    name: str
    points: Float32Array
    colors: UInt8Array
    objects: dict[str, np.ndarray]

    @property
    def boxes(self) -> Boxes3D:
        """Boxes along the axes around the objects."""
        lower = np.array([self.points[indices].min(axis=0) for indices in self.objects.values()]) - MARGIN_M
        upper = np.array([self.points[indices].max(axis=0) for indices in self.objects.values()]) + MARGIN_M
        count = len(lower)
        return Boxes3D(
            "", ("object",), (lower + upper) / 2, upper - lower, np.zeros(count), np.zeros((count, 2)), np.ones(count),
            np.zeros(count, np.int64),
        )  # fmt: skip


def main() -> int:
    """Encode, draw, write the page and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--scan", type=Path, help="scan of a table from above (default: reference data)")
    which.add_argument("--made", action="store_true", help="use objects that this package makes, not a scan")
    parser.add_argument("--model", default="lift3d-points-small", help="model name (default %(default)s)")
    parser.add_argument("--weights", type=Path, help="encoder.safetensors of a training, in place of --model")
    parser.add_argument(
        "--teacher",
        default="lift3d-depth-teacher",
        help="weights of a 2D teacher, to show what stands out to it; none for random masks (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo-points", help="results (default %(default)s)")
    parser.add_argument("--figure", type=Path, metavar="FILE.jpg", help="also write some objects as one picture")
    args = parser.parse_args()
    try:
        scene = scene_of(args.scan, is_made=args.made)
        model = str(args.weights or args.model)
        config = from_mapping(PointEncoderConfig, {"model": model, "backend": "torch"}, "--model")
        encoder = open_point_encoder(config)
        teacher = None if args.teacher == "none" else load_teacher(find_teacher(args.teacher))
        page = write(scene, encoder, teacher, args.out, args.figure)
    except (Lift3dError, OSError) as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"report: {page}")
    return 0


def scene_of(given: Path | None, *, is_made: bool) -> DemoScene:
    """Return the scan that was given, else that of the reference data, else objects that are made here."""
    shared = Path(os.environ.get("LIFT3D_SHARED_DIR", ROOT.parent / "shared"))
    path = shared / SCAN if given is None else given
    if is_made or (given is None and not path.is_file()):
        if not is_made:
            print(f"demo: no scan at {path}, so objects that this package makes are described", flush=True)
        return made_scene()
    points = read_cloud_file(path)[0].points
    is_finite = np.isfinite(points).all(axis=1)
    colors = scan_colors(path, len(points))[is_finite]
    T_plane_sensor, objects = standing_objects(points[is_finite])
    local = points[is_finite] @ T_plane_sensor[:3, :3].T + T_plane_sensor[:3, 3]
    named = {f"object {number}": indices for number, indices in enumerate(objects)}
    return DemoScene(path.stem, local.astype(np.float32), colors, named)


def scan_colors(path: Path, count: int) -> UInt8Array:
    """Return the colours (N, 3) of a scan, grey where its file has none."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            if "rgb" in file:
                return np.asarray(file["rgb"].reshape(-1, 3), np.uint8)
    return np.full((count, 3), 120, np.uint8)


def made_scene() -> DemoScene:
    """Return objects of a street, side by side."""
    rng = np.random.default_rng(SEED)
    points, colors, objects = [], [], {}
    for number, class_name in enumerate(MADE_CLASSES):
        mesh = make_road_user(class_name, rng, is_moving=False).meshes[0]
        own, own_colors = surface_points(mesh, MADE_POINTS, rng)
        row, column = divmod(number, MADE_COLUMNS)
        points.append(own + np.float32([MADE_SPACING_M[0] * column, MADE_SPACING_M[1] * row, 0.0]))
        colors.append(own_colors)
        objects[class_name.replace("_", " ")] = np.arange(MADE_POINTS) + MADE_POINTS * number
    return DemoScene("made objects", np.concatenate(points), np.concatenate(colors), objects)


def surface_points(mesh: Mesh, count: int, rng: np.random.Generator) -> tuple[Float32Array, UInt8Array]:
    """Return random points (count, 3) on the triangles of a mesh, evenly by area, and their colours."""
    corners = mesh.positions.reshape(-1, 3, 3).astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = rng.choice(len(corners), count, p=areas / areas.sum())
    weights = rng.dirichlet(np.ones(3), count)
    points = np.einsum("nk,nkc->nc", weights, corners[chosen])
    return points.astype(np.float32), mesh.colors[3 * chosen, :3]


def write(
    scene: DemoScene, encoder: PointEncoder, teacher: LoadedTeacher | None, out: Path, figure: Path | None = None
) -> Path:
    """Write the pictures as files and all of them on one page; return the page."""
    boxes = scene.boxes
    whole = encoder.infer(encoder.prepare(PointCloudFrame(scene.points)))
    prepared = encoder.prepare(PointCloudFrame(scene.points, boxes=boxes))
    result = encoder.infer(prepared)
    for problem in (*whole.problems, *result.problems):
        print(f"{scene.name}: {problem}")
    features = dict(zip(scene.objects, result.features, strict=True))
    colors = feature_colors(scene.points, whole.features)
    pictures = [
        PagePicture("Cloud:", jpeg_bytes(cloud_sheet(scene.points, scene.colors, scene.name, SIDES))),
        PagePicture(
            "Features of the whole cloud:", jpeg_bytes(cloud_sheet(scene.points, colors, "feature colours", SIDES))
        ),
    ]
    drawn = object_sheets(scene, encoder, features, [unit.points for unit in prepared.units], teacher)
    sheets = [
        PagePicture(f"{name}:", jpeg_bytes(sheet), f"{features[name].num_points} points")
        for name, sheet in drawn.items()
    ]
    if figure is not None:
        chosen = [name for name in IN_FIGURE if name in drawn] or list(drawn)[: len(IN_FIGURE)]
        figure.write_bytes(jpeg_bytes(np.concatenate([drawn[name] for name in chosen])))
    found, tables = search_again(scene, encoder)
    print(f"found again among {len(scene.objects)} objects: {found}", flush=True)
    folder = out / PICTURES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()  # of an earlier demo
    for picture in (*pictures, *sheets):
        (folder / f"{picture.title.rstrip(':').replace(' ', '_').lower()}.jpg").write_bytes(picture.jpeg)
    model = encoder.identity
    page = EvaluationPage(
        title="Point features demo",
        subtitle=f"{scene.name}; {model.description}",
        headline=(("found again", found), ("by chance", f"{len(CUTS)} of {len(scene.objects) * len(CUTS)}")),
        tables=tables,
        banner="" if model.is_trained else f"{model.description}: the features mean nothing",
        groups=(
            PictureGroup("Scene", SCENE_NOTE, tuple(pictures)),
            PictureGroup("Objects", OBJECT_NOTE + (NO_TEACHER if teacher is None else TEACHER), tuple(sheets)),
        ),
        facts={
            "model": model.description,
            "weights SHA-256": model.weights_sha256,
            "teacher SHA-256": "none" if teacher is None else teacher.sha256,
            **versions(),
        },
    )
    write_evaluation_page(out / REPORT_FILE, page)
    return out / REPORT_FILE


SCENE_NOTE = (
    "Seen at an angle, from -y and from above. Colours of features are the three main components of the tokens: parts "
    "that are alike to the encoder have like colours; which colour means nothing."
)
OBJECT_NOTE = (
    "From the left: the object; the three depth maps, brightness by summed depth; a mask of the pre-training at the "
    "coarsest scale, where one token in five stays visible (blue), and at the finest one, where all stays visible that "
    "those tokens are made of; the features as colours, shared by all objects. "
)
TEACHER = "What stands out to the teacher is yellow, what does not is dark blue; it decides what stays visible."
NO_TEACHER = "Without a 2D teacher what stands out is not shown, and masks are random."


def object_sheets(
    scene: DemoScene,
    encoder: PointEncoder,
    features: dict[str, PointFeatures],
    units: Sequence[Float32Array],
    teacher: LoadedTeacher | None,
) -> dict[str, UInt8Array]:
    """Return a sheet for each object, whose normalised points are in `units`."""
    basis = color_basis(list(features.values()))
    generator = torch.Generator().manual_seed(SEED)
    sheets = {}
    for (name, indices), points in zip(scene.objects.items(), units, strict=True):
        cloud = torch.from_numpy(points)[None]
        depth_maps = project_views(cloud)[0][0].numpy()
        own = [("object", cloud_picture(scene.points[indices], scene.colors[indices], DRAWN_PX))]
        own += [(f"depth map {view}", depth_picture(values)) for view, values in enumerate(depth_maps)]
        scales = group_scales(cloud, encoder.network.tokens)
        saliency = torch.zeros(1, scales[-1].centers.shape[1])
        if teacher is not None:
            guidance = ask_teacher(cloud, teacher.network.eval())
            values = value_colors(guidance.saliency_at(cloud)[0].numpy())
            own.append(("stands out", cloud_picture(points, values, DRAWN_PX)))
            saliency = guidance.saliency_at(scales[-1].centers)
        config = MaskConfig(guidance="random" if teacher is None else "saliency")
        masked = draw_masks(saliency, gumbel_noise(saliency, generator), config).masked
        masks = mask_finer_scales(masked, [groups.neighbours for groups in scales])
        for scale in (-1, 0):
            of_token = nearest_points(points, scales[scale].centers[0].numpy(), 1)[1][:, 0]
            is_hidden = masks[scale][0].numpy()[of_token]
            picture = cloud_picture(points, np.where(is_hidden[:, None], HIDDEN, VISIBLE), DRAWN_PX)
            own.append(("mask, finest" if scale == 0 else "mask, coarsest", picture))
        colors = feature_colors(scene.points[indices], [features[name]], basis)
        own.append(("features", cloud_picture(scene.points[indices], colors, DRAWN_PX)))
        caption = name if encoder.identity.is_trained else f"{name}\n{encoder.identity.description}"
        sheets[name] = object_sheet(own, caption, columns=len(own), cell=CELL_PX)
    return sheets


def depth_picture(values: Float32Array) -> UInt8Array:
    """Return a depth map (224, 224) as grey picture, dark where there is no point."""
    grey = np.rint(255 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
    grey[values == 0.5] = 24
    return np.ascontiguousarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def search_again(scene: DemoScene, encoder: PointEncoder) -> tuple[str, tuple[ReportTable, ...]]:
    """Cut each object into two partial views in several ways, and look for one among the others.

    Returns:
        How many are found, and the similarities.
    """
    found, tables = 0, []
    names = list(scene.objects)
    for cut in CUTS:
        views = [two_views(scene.points[indices], np.array(cut)) for indices in scene.objects.values()]
        described = [
            encoder.infer(encoder.prepare(PointCloudFrame(both[side]))).features[0] for side in (0, 1) for both in views
        ]
        between = cosine_similarity(described, is_centred=True)[: len(names), len(names) :]
        found += int((between.argmax(axis=1) == np.arange(len(names))).sum())
        direction = ", ".join(f"{value:g}" for value in cut)
        rows = tuple((name, *(f"{value:.2f}" for value in row)) for name, row in zip(names, between, strict=True))
        note = "" if tables else CUT_NOTE
        tables.append(ReportTable(f"Partial views, cut along ({direction})", ("", *names), rows, note))
    return f"{found} of {len(names) * len(CUTS)}", tuple(tables)


CUT_NOTE = (
    "Cosine similarity of the descriptors after their mean was taken away. Rows: the 70 % of the points on one side, "
    "half of them; columns: the 70 % on the other side, the other half. No point is in both. Found again where the "
    "largest value of a row is on the diagonal."
)


def two_views(points: Float32Array, direction: Float64Array) -> tuple[Float32Array, Float32Array]:
    """Return what two sensors on opposite sides could have seen of an object: no point is in both."""
    rng = np.random.default_rng(SEED)
    is_first = rng.random(len(points)) < 0.5
    depth = points @ direction
    low, high = np.quantile(depth, [1 - SHARE_OF_VIEW, SHARE_OF_VIEW])
    return points[is_first & (depth <= high)], points[~is_first & (depth >= low)]


if __name__ == "__main__":
    sys.exit(main())
