"""Options of `lift3d train` that would have no effect are refused, with what to do instead."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from lift3d_ros.replay.labelled_data import LabelledChoice

SIMULATOR = "simulator"

# The methods that read an option; those refused by a method itself, for a reason of its own, are not among them.
_METHODS = {
    "non_commercial": ("lfm",),
    "quality": ("dfa3d",),
    "workers": ("dfa3d",),
    "seeds": ("dfa3d",),
    "simulation": ("dfa3d",),
    "meshes": ("dfa3d",),
    "split": ("dfa3d", "lrm"),
    "val_split": ("dfa3d",),
    "nuscenes_version": ("dfa3d",),
    "rig": ("dfa3d",),
}
_PACKING_METHODS = ("dfa3d", "lrm")


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that this method, or a call of this kind, would not look at.

    Raises:
        ConfigError: names the option and the remedy.
    """
    for name, methods in _METHODS.items():
        if _is_given(args, name) and args.method not in methods:
            raise ConfigError(f"{_option(name)} is for {' and '.join(methods)}; {_remedy(args, name)}")
    if args.method in _PACKING_METHODS:
        _check_packing(args)
    if args.resume and args.init_from is not None:
        raise ConfigError(
            f"--init-from {args.init_from}: a run that goes on has its weights already; leave it out beside --resume, "
            "or name another --out without --resume"
        )


def how_to_go_on(args: argparse.Namespace) -> str:
    """Return what has to be called after a run that stopped before its end."""
    if args.init_from is not None:
        return "go on with the same command and --resume in place of --init-from"
    return "go on with the same command and --resume"


def data_choices(args: argparse.Namespace) -> tuple[LabelledChoice, LabelledChoice]:
    """Return what a detector's training takes of --data and of --val.

    Raises:
        ConfigError: an option has no effect on these data, or the validation would hold the scenes of the training.
        Lift3dError: the rig file cannot be used.
    """
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.replay.labelled_data import LabelledChoice

    version = args.nuscenes_version
    data = [Path(path) for path in args.data if path != SIMULATOR]
    has_nuscenes = any(_is_nuscenes(path, version) for path in data)
    validates_nuscenes = any(_is_nuscenes(path, version) for path in args.val)
    if args.split is not None and not has_nuscenes and args.meshes is None:
        raise ConfigError(
            f"--split {args.split}: is of a nuScenes folder, or of the simulator's --meshes, and --data "
            f"{' '.join(args.data)} is neither; leave it out"
        )
    if args.val_split is not None and not validates_nuscenes:
        raise ConfigError(f"--val-split {args.val_split}: is of a nuScenes folder, and --val names none; leave it out")
    if version is not None and not has_nuscenes and not validates_nuscenes:
        raise ConfigError(
            f"--nuscenes-version {version}: is of a nuScenes folder, and neither --data nor --val names one; leave it "
            "out"
        )
    given, missing = ("split", "val_split") if args.val_split is None else ("val_split", "split")
    is_one_folder = has_nuscenes and not {path.resolve() for path in data}.isdisjoint(map(Path.resolve, args.val))
    if is_one_folder and _is_given(args, given) and not _is_given(args, missing):
        raise ConfigError(
            f"{_option(given)} {getattr(args, given)}: --data and --val are the same folder, and one of them takes "
            f"the scenes of the other too; add {_option(missing)}"
        )
    _check_preparation(args, [*data, *args.val])
    rig = None if args.rig is None else load_rig(args.rig)
    return (
        LabelledChoice(version if has_nuscenes else None, args.split if has_nuscenes else None, rig),
        LabelledChoice(version if validates_nuscenes else None, args.val_split, rig),
    )


def _check_packing(args: argparse.Namespace) -> None:
    if args.pack is not None:
        for name in ("out", "val", "val_split", "init_from", "resume", "half"):
            if _is_given(args, name):
                raise ConfigError(
                    f"{_option(name)} has no effect with --pack, which prepares --data alone; leave one of both out"
                )
        return
    for name in ("quality", "workers"):
        if _is_given(args, name):
            raise ConfigError(f"{_option(name)} is for --pack; {_remedy(args, name)}")


def _check_preparation(args: argparse.Namespace, paths: Iterable[Path]) -> None:
    """Refuse what is used while labelled data are prepared, where there is nothing to prepare."""
    from lift3d_ros.datasets.pack import FACTS

    if not all((path / FACTS).is_file() for path in paths):
        return
    for name in ("rig", "classes"):
        if _is_given(args, name):
            remedy = "give it where the data are packed, or leave it out"
            if name == "rig" and SIMULATOR in args.data:
                remedy = "write 'rig: FILE' into the settings that --simulation names, or leave it out"
            raise ConfigError(
                f"{_option(name)} {getattr(args, name)}: has no effect on packs, which are prepared already, nor on "
                f"the simulator; {remedy}"
            )


def _is_nuscenes(path: Path, version: str | None) -> bool:
    from lift3d_ros.replay.labelled_data import nuscenes_versions

    return bool(nuscenes_versions(path)) or (version is not None and (path / version).is_dir())


def _is_given(args: argparse.Namespace, name: str) -> bool:
    value = getattr(args, name)
    return value is not None and value is not False and value != []  # 0 is a value


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _remedy(args: argparse.Namespace, name: str) -> str:
    if name == "workers" and args.pack is None:
        return f"add --set run.workers={args.workers} in its place"
    return "leave it out"
