"""What `replay --task object_reconstruction` does: the reconstructor over a recording, with a progress bar."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tqdm import tqdm

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.cli.object_frame import parse_box
from lift3d_ros.cli.pictures import PICTURES_FOLDER, write_picture
from lift3d_ros.cli.task_run import OF_DETECTION, check_options, facts_of, remove_files, say_model, settings_of
from lift3d_ros.config import group, setting
from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_reconstruction import (
    ObjectReconstructionConfig,
    ObjectReconstructor,
    open_object_reconstructor,
)
from lift3d_ros.pipelines.object_requests import (
    ObjectOutputConfig,
    PlacedObject,
    PreparedRequest,
    RequestReconstructor,
    check_file_pattern,
)
from lift3d_ros.pipelines.object_sets import ObjectInputConfig, ObjectRequest, ObjectSyncConfig
from lift3d_ros.pipelines.object_surface import SurfaceConfig
from lift3d_ros.pipelines.object_triggers import TriggerConfig
from lift3d_ros.replay.bag_objects import BagObjects, RecordedTopics
from lift3d_ros.replay.object_run import MESHES_FOLDER, check_unused, run_requests

_SIDE_PX = 256


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them, with the names that the node has."""

    model: str = setting("lift3d-lrm-tiny", "a name of 'lift3d weights list', or the path of an exported .onnx file")
    topics: RecordedTopics = group(RecordedTopics)
    input: ObjectInputConfig = group(ObjectInputConfig)
    sync: ObjectSyncConfig = group(ObjectSyncConfig)
    trigger: TriggerConfig = group(TriggerConfig)
    surface: SurfaceConfig = group(SurfaceConfig)
    output: ObjectOutputConfig = group(ObjectOutputConfig)
    engine: EngineConfig = group(EngineConfig)


def run_reconstruction(args: argparse.Namespace) -> int:
    """Reconstruct the objects of a recording and print where the results are.

    Raises:
        ConfigError: an option of another task.
    """
    check_options(args, OF_DETECTION)
    check_unused(args.out, overwrite=args.overwrite)
    config = settings_of(RunConfig, args, args.task)
    check_file_pattern(args.out / MESHES_FOLDER, config.output.file)
    box = None if args.box is None else parse_box(args.box)
    with open_bag(args.bag) as reader:
        source = BagObjects(reader, config.topics, config.input, config.sync, config.trigger, box)
        surface = config.output.limited(config.surface)
        reconstructor = open_object_reconstructor(ObjectReconstructionConfig(config.model, surface, config.engine))
        say_model(reconstructor.identity)
        if args.overwrite:  # not before bag, settings and model are known to be usable
            remove_files(args.out / PICTURES_FOLDER, "*.jpg")
            remove_files(args.out / MESHES_FOLDER, "**/*.glb")
        with tqdm(desc="reconstructing", unit="object", disable=None) as progress:

            def on_result(
                request: ObjectRequest, prepared: PreparedRequest | None, placed: PlacedObject | None
            ) -> None:
                progress.update()
                if not args.no_pictures and prepared is not None and placed is not None:
                    _write_picture(args, reconstructor, prepared, placed)

            count, meshes = run_requests(
                source.requests(),
                RequestReconstructor(reconstructor, config.input.box_cutting),
                args.out,
                config.output.file,
                facts_of(args, config, source.topics, reconstructor.identity) | {"box": args.box},
                args.frames,
                on_result,
            )
    if not count:
        raise Lift3dError(f"{args.bag}: no object was due; see the warnings above, 'trigger' in --params, and --frames")
    print(f"{meshes} meshes of {count} objects ({reconstructor.identity.description}); results in {args.out}")
    return 0 if meshes else 1


def _write_picture(
    args: argparse.Namespace, reconstructor: ObjectReconstructor, prepared: PreparedRequest, placed: PlacedObject
) -> None:
    """Write what the model saw and two sides of the mesh, as a picture that is named like the mesh."""
    import numpy as np

    from lift3d_ros.models.lrm.cameras import turntable, view_intrinsics
    from lift3d_ros.viz.objects import mesh_picture, object_sheet

    view, mesh = reconstructor.model_config.view, placed.mesh
    poses = turntable(2, view, elevation=np.deg2rad(25.0))
    shown = [("input", np.rint(prepared.prepared.view.image.transpose(1, 2, 0)).astype(np.uint8))]
    for name, pose in zip(("mesh", "from behind"), poses, strict=True):
        picture = mesh_picture(mesh.vertices, mesh.faces, mesh.colors, pose, view_intrinsics(view), _SIDE_PX)
        shown.append((name, picture))
    request = placed.request
    path = args.out / PICTURES_FOLDER / f"{request.stamp_ns}_{request.track}.jpg"
    sheet = object_sheet(shown, f"{request.name}: {mesh.identity.description}")
    write_picture(path, sheet)
