"""The demo of the object reconstructor: pictures of single objects to meshes, with views from new sides.

Real pictures where the reference data lie; without them, renders of objects that this package makes itself. The page
shows for each what the model saw, what it renders from all around, and the mesh; the meshes lie beside it as GLB.

  make demo-object
  make demo-object DEMO_IMAGE=mug.png DEMO_MODEL=triposr       a picture with alpha, and imported weights
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.cli.output_places import check_file_place, check_folder_place
from lift3d_ros.datasets.object_renders import Framing, Light, ObjectRenderer, render_views, turned_rotation
from lift3d_ros.datasets.object_shapes import made_object
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.run_report import REPORT_FILE, jpeg_bytes, versions
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import find_lrm, open_lrm_engine
from lift3d_ros.pipelines.object_graph import GRAPH_ENDING
from lift3d_ros.viz.evaluation_page import EvaluationPage, PagePicture, PictureGroup, write_evaluation_page

ROOT = Path(__file__).resolve().parents[1]
PICTURES = Path("data") / "objects"
SHOWN = ("teapot", "fire_extinguisher", "hydrant", "sports_car")
INTERRUPTED = 130  # exit status after Ctrl-C
NUM_MADE, SIDE_PX, SEED = 4, 256, 6
NOTE = (
    "From the left: the picture as the model sees it, views of its field from all around (not of an exported graph), "
    "the mesh from in front and from behind; blue is what the picture does not show, so a guess."
)


@dataclass(frozen=True)
class Picture:
    """A picture of one object.

    Args:
        mask: None where the picture has alpha.
    """

    name: str
    path: Path
    mask: Path | None = None


def main() -> int:
    """Reconstruct, write the page and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--image", type=Path, help="picture of one object, with alpha or with --mask")
    which.add_argument("--made", action="store_true", help="use objects that this package makes")
    parser.add_argument("--mask", type=Path, help="mask of --image")
    parser.add_argument(
        "--model", default="lift3d-lrm-tiny", help="model name, or an exported .onnx file (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo-object", help="results (default %(default)s)")
    parser.add_argument("--figure", type=Path, metavar="FILE.jpg", help="also write all objects as one picture")
    args = parser.parse_args()
    if args.mask is not None and args.image is None:
        parser.error("--mask: there is no --image that it belongs to; give both")
    try:
        check_folder_place("--out", args.out)
        if args.figure is not None:
            check_file_place("--figure", args.figure)
        is_trained = has_trained_weights(args.model)
        pictures = pictures_of(args)
        sheets = {}
        for picture in pictures:
            if (sheet := reconstruct(picture, args.model, args.out)) is not None:
                sheets[picture.name] = sheet
        page = write(args.out, args.model, sheets, is_trained=is_trained)
        if args.figure is not None:
            stacked = np.concatenate([cv2.imread(str(sheet)) for sheet in sheets.values()])
            args.figure.parent.mkdir(parents=True, exist_ok=True)
            args.figure.write_bytes(cv2.imencode(".jpg", stacked, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    except (Lift3dError, OSError) as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"report: {page}")
    return 0 if sheets else 1


def has_trained_weights(model: str) -> bool:
    """Return whether the weights of a model are trained.

    Raises:
        Lift3dError: there is no such model.
    """
    if model.endswith(GRAPH_ENDING):
        return open_lrm_engine(model, EngineConfig()).identity.is_trained
    return find_lrm(model).weights is not None


def pictures_of(args: argparse.Namespace) -> list[Picture]:
    """Return the picture that was given, else those of the reference data, else renders of made objects."""
    if args.image is not None:
        return [Picture(args.image.stem, args.image, args.mask)]
    folder = Path(os.environ.get("LIFT3D_SHARED_DIR", ROOT.parent / "shared")) / PICTURES
    if folder.is_dir() and not args.made:
        places = [(name, folder / f"{name}{ending}") for name in SHOWN for ending in (".png", ".jpg")]
        masks = {name: mask for name in SHOWN if (mask := folder / f"{name}_mask.png").is_file()}
        if found := [Picture(name, path, masks.get(name)) for name, path in places if path.is_file()]:
            return found
    if not args.made:
        print(f"demo: no pictures in {folder}, so objects that this package makes are reconstructed", flush=True)
    return made_pictures(args.out / "inputs")


def made_pictures(folder: Path) -> list[Picture]:
    """Render some objects with alpha, a little from above."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    rotation = turned_rotation(np.deg2rad(-65.0), np.deg2rad(20.0))[None]
    found = []
    with ObjectRenderer(SIDE_PX) as renderer:
        for number in range(NUM_MADE):
            rgba = render_views(renderer, made_object(rng), rotation, Framing(), Light()).rgba[0]
            path = folder / f"made_{number}.png"
            cv2.imwrite(str(path), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
            found.append(Picture(path.stem, path))
    return found


def reconstruct(picture: Picture, model: str, out: Path) -> Path | None:
    """Make the mesh of a picture by the command that users have, and return its sheet of views."""
    views = out / "pictures" / picture.name
    mesh = out / f"{picture.name}.glb"
    mesh.parent.mkdir(parents=True, exist_ok=True)
    masked = [] if picture.mask is None else ["--mask", str(picture.mask)]
    call = ["reconstruct", str(picture.path), *masked, "--model", model, "--out", str(mesh), "--pictures", str(views)]
    if lift3d(call) == 2:
        raise Lift3dError(f"{picture.path}: was not reconstructed; see above")
    sheet = views / "sheet.png"
    return sheet if sheet.is_file() else None


def write(out: Path, model: str, sheets: dict[str, Path], *, is_trained: bool) -> Path:
    """Write the page and return where."""
    pictures = tuple(
        PagePicture(name, jpeg_bytes(cv2.cvtColor(cv2.imread(str(sheet)), cv2.COLOR_BGR2RGB)), f"{name}.glb")
        for name, sheet in sheets.items()
    )
    page = EvaluationPage(
        title="Object reconstruction demo",
        subtitle=model,
        headline=(("objects", str(len(sheets))),),
        tables=(),
        banner="" if is_trained else "untrained weights: the shapes mean nothing",
        groups=(PictureGroup("Objects", NOTE, pictures),),
        facts=versions(),
    )
    path = out / REPORT_FILE
    write_evaluation_page(path, page)
    return path


if __name__ == "__main__":
    sys.exit(main())
