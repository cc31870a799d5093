"""Renders the bundled demo scene `demo/street/`: a drive of a few seconds through a made-up street, six cameras."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from lift3d_ros.errors import Lift3dError
from lift3d_ros.simulation.drive import Simulator
from lift3d_ros.simulation.scene_folder import write_scene_folder
from lift3d_ros.simulation.settings import load_settings

_REPOSITORY = Path(__file__).resolve().parents[1]
_KEPT = "README.md"


def main() -> int:
    """Parse the command line, render, print where the scene lies and how large it is."""
    settings = load_settings(_REPOSITORY / "config" / "simulation" / "demo.yaml")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=_REPOSITORY / "demo" / "street", help="folder of the scene")
    parser.add_argument("--seed", type=int, default=settings.seed, help="which street")
    parser.add_argument("--frames", type=int, default=settings.frames, help="number of frames to write")
    parser.add_argument("--width", type=int, default=settings.width, help="width of the pictures, px")
    parser.add_argument("--quality", type=int, default=settings.quality, help="JPEG quality, 1 to 100")
    arguments = parser.parse_args()
    out: Path = arguments.out
    note = out / _KEPT
    kept = note.read_bytes() if note.is_file() else None
    description = (
        f"Street rendered by lift3d_ros (seed {arguments.seed}); no part of it is real. Boxes are exact bounds of the "
        f"meshes, labelled up to {settings.range_m:g} m when at least {settings.min_visible_px} px are seen."
    )
    try:
        # The whole drive is simulated, as a shorter one would be another one.
        with Simulator(replace(settings, width=arguments.width), None) as simulator:
            frames = simulator.drive(arguments.seed)
            chosen = (frame for frame, _ in zip(frames, range(arguments.frames), strict=False))
            steps = write_scene_folder(out, chosen, out.name, description, arguments.quality)
            for _ in tqdm(steps, total=arguments.frames, desc=f"rendering {out.name}", unit="frame"):
                pass
    except Lift3dError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if kept is not None:
        note.write_bytes(kept)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {arguments.frames} frames, {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
