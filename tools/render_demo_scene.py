"""Renders the bundled demo scene `demo/street/`: a drive of a few seconds through a made-up street, six cameras."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.simulation.scene_writer import DriveSettings, rig_cameras, write_drive

_REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Parse the command line, render, print where the scene lies and how large it is."""
    settings = DriveSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=_REPOSITORY / "demo" / "street", help="folder of the scene")
    parser.add_argument(
        "--rig",
        type=Path,
        default=_REPOSITORY / "config" / "rigs" / "nuscenes_like.yaml",
        help="cameras of the vehicle",
    )
    parser.add_argument("--seed", type=int, default=settings.seed, help="which street")
    parser.add_argument("--frames", type=int, default=settings.frames, help="number of frames")
    parser.add_argument("--rate", type=float, default=settings.rate_hz, help="frames per second")
    parser.add_argument("--width", type=int, default=settings.width, help="width of the pictures, px")
    parser.add_argument("--quality", type=int, default=settings.quality, help="JPEG quality, 1 to 100")
    arguments = parser.parse_args()
    settings = DriveSettings(
        seed=arguments.seed,
        frames=arguments.frames,
        rate_hz=arguments.rate,
        width=arguments.width,
        quality=arguments.quality,
    )
    out: Path = arguments.out
    try:
        cameras = rig_cameras(load_rig(arguments.rig), settings.width)
        steps = write_drive(out, out.name, cameras, settings)
        for _ in tqdm(steps, total=settings.frames, desc=f"rendering {out.name}", unit="frame"):
            pass
    except Lift3dError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _remove_later_frames(out, settings.frames)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {settings.frames} frames of {len(cameras)} cameras, {size / 1e6:.2f} MB")
    return 0


def _remove_later_frames(scene: Path, frames: int) -> None:
    """Delete the pictures of a longer drive that was rendered into the same folder before."""
    for path in scene.glob("images/*/[0-9][0-9][0-9][0-9].jpg"):
        if int(path.stem) >= frames:
            path.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
