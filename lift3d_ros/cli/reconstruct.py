"""`lift3d reconstruct`: one picture of an object to a coloured mesh."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lift3d_ros.pipelines.object_mesh import Texture
    from lift3d_ros.pipelines.object_reconstruction import (
        ObjectReconstructionConfig,
        ObjectReconstructor,
        PreparedObject,
        ReconstructedObject,
    )
    from lift3d_ros.types import Float64Array, UInt8Array

NUM_VIEWS = 4
# Views of the field take long on a CPU, pictures of the mesh do not.
VIEW_SIDE_PX = 128
MESH_SIDE_PX = 256
NUM_TURNTABLE_VIEWS = 48
TEXTURED_FACES = 20000

DESCRIPTION = """\
Reconstruct the object in one picture as a coloured mesh.

What is the object must be said, unless the picture is a PNG with transparent background:
a mask, a box around the object (GrabCut then finds it inside), or a box that is taken whole. Where the package rembg is
installed, --rembg finds the object by a network, in the box or in all of the picture.

  lift3d reconstruct mug.png --out mug.glb
  lift3d reconstruct table.jpg --mask mug_mask.png --out mug.glb --pictures shown
  lift3d reconstruct table.jpg --box 210,80,390,320 --model triposr --out mug.ply --turntable mug.mp4
  lift3d reconstruct table.jpg --box 210,80,390,320 --camera camera.yaml --depth depth.png --out mug.obj

The mesh is written as GLB (y up, for viewers), PLY or OBJ (z up). It has no unit, unless --camera and --depth tell its
size: then it is in metres, and its pose in the camera's optical frame is printed. Sides that the picture does not show
are guesses of the model; PLY and GLB files keep for each vertex whether it is seen.

The shipped lift3d-lrm-tiny is small: it knows the front, and guesses sides and back softly. Weights of TripoSR (MIT)
and OpenLRM (non-commercial) are taken over with 'lift3d weights import FILE --as triposr'. The surface is cut at
--threshold: lower it for thin parts and holes, raise it for blobs. Where there is no surface nothing is written, and
the exit status is 1.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "reconstruct",
        help="make a mesh of the object in a picture",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="picture with one object")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="mesh to write: .glb, .ply or .obj")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="picture of the same size, 0 outside of the object")
    parser.add_argument("--box", metavar="L,T,R,B", help="left, top, right, bottom of the object, px")
    parser.add_argument("--whole-box", action="store_true", help="all of --box is the object, without GrabCut")
    parser.add_argument("--rembg", action="store_true", help="find the object by the network of the package rembg")
    parser.add_argument("--model", help="a name of 'lift3d weights list', or an exported .onnx file")
    parser.add_argument(
        "--params", type=Path, metavar="FILE", help="parameter file of the node, or YAML with model, surface, engine"
    )
    parser.add_argument("--device", help="cpu or cuda:0")
    parser.add_argument("--resolution", type=int, metavar="N", help="cells along a side of the model's cube")
    parser.add_argument("--threshold", type=float, metavar="D", help="density of the surface; default: the model's")
    parser.add_argument("--faces", type=int, metavar="N", help="triangles at most; 0 keeps all")
    parser.add_argument("--largest-part", action="store_true", help="drop what is not connected to the largest part")
    parser.add_argument("--texture", action="store_true", help="write a texture in place of vertex colours")
    parser.add_argument("--turntable", type=Path, metavar="FILE", help="film of the mesh from all around: .mp4 or .gif")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write input, views from new sides, mesh, a sheet")
    parser.add_argument("--camera", metavar="FILE[:NAME]", help="calibration, or rig file with the camera's name")
    parser.add_argument("--depth", type=Path, metavar="FILE", help="16-bit PNG in mm, seen by the same camera")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reconstruct, write and say what came out."""
    import tqdm

    from lift3d_ros.cli.object_frame import frame_of
    from lift3d_ros.pipelines.object_reconstruction import open_object_reconstructor

    _check(args)
    config = _config_of(args)
    frame = frame_of(args)
    reconstructor = open_object_reconstructor(config)
    print(f"model: {reconstructor.identity.description}")
    prepared = reconstructor.prepare(frame)
    with tqdm.tqdm(
        total=1.0, bar_format="{desc:<10}{percentage:3.0f}% |{bar}| {elapsed}", leave=False, disable=None
    ) as bar:

        def show(stage: str, fraction: float) -> None:
            if not bar.disable:
                bar.set_description_str(stage, refresh=False)
                bar.n = min(fraction, 1.0)
                bar.refresh()

        result = reconstructor.infer(prepared, show)
        if not result.is_empty:
            _write(args, reconstructor, result, show)
            if args.turntable is not None:
                _write_turntable(args.turntable, reconstructor, result, show)
        if args.pictures is not None:
            _write_pictures(args.pictures, reconstructor, prepared, result, show)
    status = _report(args, result)
    if args.pictures is not None and not reconstructor.renders_views:
        print(f"{args.pictures}: without views of the field, which are rendered with PyTorch and not by a graph")
    return status


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done or written before the model is loaded."""
    from lift3d_ros.cli.output_places import check_file_place, check_folder_place
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.object_matting import check_rembg
    from lift3d_ros.pipelines.object_mesh import check_mesh_path
    from lift3d_ros.viz.objects import check_film_path

    check_mesh_path(args.out, has_texture=args.texture)
    check_file_place("--out", args.out)
    if args.turntable is not None:
        check_film_path(args.turntable)
        check_file_place("--turntable", args.turntable)
    if args.pictures is not None:
        check_folder_place("--pictures", args.pictures)
    if args.whole_box and args.box is None:
        raise ConfigError("--whole-box: there is no --box; give one, as in --box 210,80,390,320")
    for option, is_given in (("--mask", args.mask is not None), ("--whole-box", args.whole_box)):
        if args.rembg and is_given:
            raise ConfigError(f"--rembg and {option}: both say what the object is; leave one out")
    if args.rembg:
        check_rembg()
    if (args.camera is None) != (args.depth is None):
        raise ConfigError("--camera and --depth: only one is given; the size of the object needs both")


def _write(
    args: argparse.Namespace,
    reconstructor: ObjectReconstructor,
    result: ReconstructedObject,
    show: Callable[[str, float], object],
) -> None:
    from lift3d_ros.pipelines.object_mesh import bake_texture, write_mesh

    texture: Texture | None = None
    if args.texture:

        def colors_of(points: Float64Array) -> UInt8Array:
            return reconstructor.colors_at(result.planes, points)

        texture = bake_texture(
            result.vertices, result.faces, colors_of, on_piece=lambda fraction: show("texture", fraction)
        )
    scale = 1.0 if result.pose is None else result.pose.scale
    write_mesh(args.out, scale * result.vertices, result.faces, result.colors, result.is_seen, texture)


def _write_pictures(
    folder: Path,
    reconstructor: ObjectReconstructor,
    prepared: PreparedObject,
    result: ReconstructedObject,
    show: Callable[[str, float], object],
) -> None:
    """Write what the model saw, what it renders from new sides, and the mesh."""
    import numpy as np

    from lift3d_ros.models.lrm.cameras import turntable, view_intrinsics
    from lift3d_ros.viz.objects import mesh_picture, object_sheet

    view = reconstructor.model_config.view
    poses = turntable(NUM_VIEWS, view, elevation=0.0)
    above = turntable(NUM_VIEWS, view, elevation=np.deg2rad(25.0))
    intrinsics = view_intrinsics(view)
    shown = [("input", np.rint(prepared.view.image.transpose(1, 2, 0)).astype(np.uint8))]
    if reconstructor.renders_views:
        rendered = reconstructor.render(result.planes, poses, VIEW_SIDE_PX, show)
        shown += [(f"view {360 * number // NUM_VIEWS}", picture) for number, picture in enumerate(rendered)]
    if not result.is_empty:
        mesh = result.vertices, result.faces, result.colors
        shown += [
            ("mesh", mesh_picture(*mesh, above[0], intrinsics, MESH_SIDE_PX)),
            ("mesh 180", mesh_picture(*mesh, above[NUM_VIEWS // 2], intrinsics, MESH_SIDE_PX)),
            ("guessed parts blue", mesh_picture(*mesh, above[1], intrinsics, MESH_SIDE_PX, result.is_seen)),
        ]
    for name, picture in shown:
        _write_picture(folder / f"{name.replace(' ', '_')}.png", picture)
    _write_picture(folder / "sheet.png", object_sheet(shown, result.identity.description))


def _write_turntable(
    path: Path, reconstructor: ObjectReconstructor, result: ReconstructedObject, show: Callable[[str, float], object]
) -> None:
    import numpy as np

    from lift3d_ros.models.lrm.cameras import turntable, view_intrinsics
    from lift3d_ros.viz.canvas import draw_caption
    from lift3d_ros.viz.objects import mesh_picture, write_film

    view = reconstructor.model_config.view
    frames = []
    for number, pose in enumerate(turntable(NUM_TURNTABLE_VIEWS, view, elevation=np.deg2rad(15.0))):
        show("turntable", number / NUM_TURNTABLE_VIEWS)
        mesh = result.vertices, result.faces, result.colors
        frames.append(mesh_picture(*mesh, pose, view_intrinsics(view), MESH_SIDE_PX))
        draw_caption(frames[-1], result.identity.description)
    write_film(path, frames)


def _report(args: argparse.Namespace, result: ReconstructedObject) -> int:
    import numpy as np

    for problem in result.problems:
        print(f"{args.image.name}: {problem}")
    if result.is_empty:
        print(f"nothing was written to {args.out}")
        return 1
    seconds = sum(result.timings_s.values())
    print(
        f"{args.out}: {len(result.vertices)} vertices, {len(result.faces)} triangles, {result.is_seen.mean():.0%} of "
        f"the vertices seen, the rest guessed; {seconds:.1f} s"
    )
    if result.pose is not None:
        pose, size = result.pose, np.ptp(result.vertices, axis=0) * result.pose.scale
        print(
            f"size {size[0]:.3f} x {size[1]:.3f} x {size[2]:.3f} m (by {pose.scale_source}, ±{pose.scale_std:.0%}), "
            f"middle of its frame at {np.array2string(pose.T_cam_object[:3, 3], precision=3)} m in the optical frame"
        )
    return 0


def _config_of(args: argparse.Namespace) -> ObjectReconstructionConfig:
    from lift3d_ros.cli.run_settings import read_run_settings
    from lift3d_ros.config import from_mapping
    from lift3d_ros.pipelines.object_reconstruction import ObjectReconstructionConfig

    values: dict[str, Any] = {}
    if args.params is not None:
        values = read_run_settings(args.params, ObjectReconstructionConfig, "object_reconstruction")
    options = {"resolution": args.resolution, "threshold": args.threshold, "max_faces": args.faces}
    surface = {name: value for name, value in options.items() if value is not None}
    if args.largest_part:
        surface["largest_part"] = True
    given = values.get("surface")
    if args.texture and not {"max_faces"} & {*surface, *(given if isinstance(given, dict) else ())}:
        surface["max_faces"] = TEXTURED_FACES
    for name, changes in (("surface", surface), ("engine", {} if args.device is None else {"device": args.device})):
        if changes:
            former = values.get(name)
            values[name] = {**(former if isinstance(former, dict) else {}), **changes}
    if args.model is not None:
        values["model"] = args.model
    where = "command line" if args.params is None else str(args.params)
    return from_mapping(ObjectReconstructionConfig, values, where)


def _write_picture(path: Path, rgb: UInt8Array) -> None:
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", np.ascontiguousarray(rgb[:, :, ::-1]))
    path.write_bytes(data.tobytes())
