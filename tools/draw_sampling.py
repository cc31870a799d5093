"""Draws where one BEV query samples in each camera, and how depth separates two queries on one ray of a camera.

Depth comes from the LiDAR of the scene; a scene that was rendered by this project with its default settings, as
demo/street, can have a LiDAR simulated. Without a choice of camera, pixel or place the clearest example is taken.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

from lift3d_ros.datasets.frames import Scene, SceneFrame, frame_set, read_scene
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.resources import find_resource
from lift3d_ros.simulation.drive import Simulator
from lift3d_ros.simulation.settings import load_settings
from lift3d_ros.types import Boxes3D, Float32Array, FrameSet
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.sampling import RayPair, SampledFrame, choose_pair, depth_profile, figure_config, sample_frame

matplotlib.use("agg")

from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

SURFACE, OTHER, MEASURED = "#ff8c1a", "#35c7f0", "#8893a0"
BACKGROUND, INK = "#ffffff", "#1c2127"
HEADLINE = "Plain 2D attention gives A and B the same features; depth keeps them for A, which lies on the surface."
CROP_RATIO, NARROWEST_CROP_PX = 1.75, 260.0


def main() -> int:
    """Parse the command line, choose, draw, say what was drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, metavar="SCENE_FOLDER", help="folder with meta.json and images/")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="which frame (default %(default)s)")
    parser.add_argument("--camera", metavar="NAME", help="look in this camera only")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--pixel", type=float, nargs=2, metavar=("U", "V"), help="pixel of the network input, 704x256")
    where.add_argument("--cell", type=float, nargs=2, metavar=("X", "Y"), help="place in the base frame, m")
    parser.add_argument("--simulate-lidar", action="store_true", help="render the depth that the scene has no file for")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="picture to write, PNG or JPEG")
    args = parser.parse_args()
    try:
        if args.out.suffix not in (".png", ".jpg", ".jpeg"):
            raise ConfigError(f"--out {args.out}: expected a file name that ends in .png or .jpg")
        scene = read_scene(args.scene)
        frame = chosen_frame(scene, args.frame)
        points = simulated_points(scene, frame) if args.simulate_lidar else measured_points(scene, frame)
        frames = frame_set(scene, frame)
        sampled = sample_frame(frames, points, figure_config())
        pixel = tuple(args.pixel) if args.pixel else None
        place = tuple(args.cell) if args.cell else None
        pair = choose_pair(sampled, frame.boxes, camera=args.camera, pixel=pixel, place=place)
        figure = draw(frames, sampled, pair, frame.boxes, points)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out, dpi=100, facecolor=BACKGROUND, pil_kwargs={"quality": 88, "optimize": True})
    except (Lift3dError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB; {description(sampled, pair)}")
    return 0


def chosen_frame(scene: Scene, number: int) -> SceneFrame:
    """Return the frame counted from 0."""
    if not 0 <= number < len(scene.frames):
        raise ConfigError(f"--frame {number}: the scene has frames 0 to {len(scene.frames) - 1}")
    return scene.frames[number]


def measured_points(scene: Scene, frame: SceneFrame) -> Float32Array:
    """Return the LiDAR points of a frame in the base frame, (R, 3)."""
    if frame.points_path is None:
        raise DatasetError(
            f"scene '{scene.name}' has no LiDAR points for frame {frame.index}; expected 'lidar' in its meta.json. "
            "For a scene rendered with tools/render_demo_scene.py add --simulate-lidar"
        )
    return transform_points(scene.lidar.T_base_lidar, read_points(frame.points_path)[0]).astype(np.float32)


def simulated_points(scene: Scene, frame: SceneFrame) -> Float32Array:
    """Return what a spinning LiDAR on the roof would measure in the bundled scene, (R, 3) in the base frame.

    The drive is simulated again with the settings of `tools/render_demo_scene.py`, in small pictures.
    """
    settings = load_settings(find_resource("config/simulation/demo.yaml"))
    settings = replace(settings, lidar=True, sensor=False, width=64)
    with Simulator(settings, None) as simulator:
        for simulated in simulator.drive(settings.seed):
            if simulated.index < frame.index:
                continue
            if np.abs(simulated.T_world_base - frame.T_world_base).max() < 1e-3:
                return simulated.points
            break
    raise DatasetError(
        f"scene '{scene.name}' was not rendered with the default settings of tools/render_demo_scene.py: its poses "
        "differ; a LiDAR can be simulated for demo/street only"
    )


def description(sampled: SampledFrame, pair: RayPair) -> str:
    """Say in words what is drawn."""
    camera = sampled.cameras[sampled.camera[pair.surface]]
    parts = []
    for name, row in (("surface", pair.surface), ("other", pair.other)):
        x, y = sampled.outline(sampled.cell[row]).mean(axis=0)
        parts.append(f"{name} ({x:.1f}, {y:.1f}) m takes {sampled.share[row]:.2f}, in 2D {sampled.share_2d[row]:.2f}")
    return f"camera {camera}: " + "; ".join(parts)


def draw(frames: FrameSet, sampled: SampledFrame, pair: RayPair, boxes: Boxes3D | None, points: Float32Array) -> Figure:
    """Return the figure: pictures, the ray from above, depth at the shared pixels, and what each query receives."""
    figure = plt.figure(figsize=(14.0, 9.1))
    figure.suptitle(HEADLINE, x=0.022, y=0.985, ha="left", fontsize=15, color=INK)
    upper = figure.add_gridspec(
        1, 2, width_ratios=[1.72, 1], left=0.012, right=0.988, top=0.905, bottom=0.385, wspace=0.03
    )
    lower = figure.add_gridspec(
        1, 3, width_ratios=[1.35, 1, 1], left=0.012, right=0.985, top=0.305, bottom=0.062, wspace=0.2
    )
    camera = int(sampled.camera[pair.surface])
    name = sampled.cameras[camera]

    axes = titled(figure.add_subplot(upper[0]), f"Camera {name}: queries A and B sample the same pixels")
    draw_picture(axes, sampled, camera, [(pair.other, OTHER, "B"), (pair.surface, SURFACE, "A")])
    look_closer(axes, sampled, pair)
    mark_shared_place(axes, sampled, pair)
    draw_key(
        axes, is_at_the_right=bool(sampled.anchors[pair.surface, pair.surface_anchor, 0] > np.mean(axes.get_xlim()))
    )

    axes = titled(figure.add_subplot(upper[1]), "From above: both lie on one ray of that camera")
    draw_plan(axes, frames, sampled, pair, boxes, points)

    elsewhere = [row for row in sampled.rows_of_cell(int(sampled.cell[pair.surface])) if row != pair.surface]
    axes = figure.add_subplot(lower[0])
    if elsewhere:
        other = int(sampled.camera[elsewhere[0]])
        titled(axes, f"Camera {sampled.cameras[other]} sees A, too")
        draw_picture(axes, sampled, other, [(elsewhere[0], SURFACE, "A")])
    else:
        titled(axes, f"The whole picture of camera {name}")
        draw_picture(axes, sampled, camera, [(pair.surface, SURFACE, "A")])

    draw_profile(titled(figure.add_subplot(lower[1]), "Depth scores at these pixels"), sampled, pair)
    draw_shares(titled(figure.add_subplot(lower[2]), "What each query receives"), sampled, pair)
    return figure


def titled(axes: Axes, title: str) -> Axes:
    """Give a panel its title."""
    axes.set_title(title, loc="left", fontsize=12.5, fontweight="bold", color=INK)
    return axes


def draw_picture(axes: Axes, sampled: SampledFrame, camera: int, rows: list[tuple[int, str, str]]) -> None:
    """Draw the picture of a camera with measured points, and pillars and samples of pairs of this camera."""
    name = sampled.cameras[camera]
    axes.imshow(sampled.pictures[name], interpolation="lanczos")
    returns = sampled.returns[name]
    order = np.argsort(-returns[:, 2])
    axes.scatter(*returns[order, :2].T, s=2.0, c=returns[order, 2], cmap="turbo_r", vmin=2, vmax=45, alpha=0.6, lw=0)
    for row, color, letter in rows:
        draw_pillar(axes, sampled, row, color, letter)
    axes.set(xlim=(-0.5, sampled.config.image_width - 0.5), ylim=(sampled.config.image_height - 0.5, -0.5))
    axes.axis("off")


def draw_pillar(axes: Axes, sampled: SampledFrame, row: int, color: str, letter: str) -> None:
    """Draw anchors as squares on a line, samples as rings, filled as far as depth lets them take features."""
    anchors, samples, scores = sampled.anchors[row], sampled.samples[row], sampled.sample_scores[row]
    seam = [patheffects.withStroke(linewidth=4.4, foreground="black", alpha=0.55)]
    axes.plot(*anchors[:, :2].T, color=color, lw=2.4, path_effects=seam, zorder=3)
    for sample, place in enumerate(samples):
        anchor = anchors[sample % len(anchors)]
        axes.plot([anchor[0], place[0]], [anchor[1], place[1]], color=color, lw=0.8, alpha=0.8, zorder=3)
    rgba = np.array([to_rgba(color)] * len(samples))
    rgba[:, 3] = np.clip(scores, 0, 1)
    axes.scatter(*samples[:, :2].T, s=62, c="black", alpha=0.45, lw=0, zorder=4)
    axes.scatter(*samples[:, :2].T, s=46, facecolors=rgba, edgecolors=color, lw=1.6, zorder=5)
    axes.scatter(*anchors[:, :2].T, s=52, marker="s", facecolors=color, edgecolors="black", lw=0.9, zorder=6)
    foot = anchors[anchors[:, 1].argmax()]
    is_at_the_right = foot[0] > 0.9 * sampled.config.image_width
    axes.text(
        foot[0] + (-9 if is_at_the_right else 9),
        foot[1] + 3,
        letter,
        ha="right" if is_at_the_right else "left",
        color=color,
        fontsize=17,
        fontweight="bold",
        va="center",
        zorder=8,
        path_effects=[patheffects.withStroke(linewidth=3.5, foreground="black")],
        clip_on=True,
    )


def look_closer(axes: Axes, sampled: SampledFrame, pair: RayPair) -> None:
    """Cut the picture to what both queries sample."""
    height, width = sampled.config.image_height, sampled.config.image_width
    places = sampled.samples[[pair.surface, pair.other]].reshape(-1, 3)[:, :2]
    places = places.clip([0, 0], [width - 1, height - 1])
    span = 1.3 * np.ptp(places, axis=0)
    crop_width = float(np.clip(max(span[0], CROP_RATIO * span[1]), NARROWEST_CROP_PX, CROP_RATIO * height))
    size = np.array([crop_width, crop_width / CROP_RATIO])
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    left, top = np.clip(middle - size / 2, -0.5, [width - 0.5, height - 0.5] - size)
    axes.set(xlim=(left, left + size[0]), ylim=(top + size[1], top))


def mark_shared_place(axes: Axes, sampled: SampledFrame, pair: RayPair) -> None:
    """Circle the place in the picture where both queries have an anchor."""
    both = [sampled.anchors[pair.surface, pair.surface_anchor], sampled.anchors[pair.other, pair.other_anchor]]
    middle = np.mean(both, axis=0)
    axes.scatter(
        *middle[:2],
        s=620,
        facecolors="none",
        edgecolors="white",
        lw=2.2,
        zorder=7,
        path_effects=[patheffects.withStroke(linewidth=4.4, foreground="black", alpha=0.6)],
    )


def draw_key(axes: Axes, *, is_at_the_right: bool) -> None:
    """Explain the marks, away from where the queries sample."""
    marks = [
        Line2D([], [], marker="s", ls="", mfc="white", mec="black", ms=8, label="anchor of the cell's pillar"),
        Line2D([], [], marker="o", ls="", mfc="white", mec="white", ms=8, label="sample that depth lets through"),
        Line2D([], [], marker="o", ls="", mfc="none", mec="white", mew=1.6, ms=8, label="sample that depth suppresses"),
        Line2D([], [], marker="o", ls="", mfc="none", mec="white", mew=2.2, ms=17, label="pixels that both sample"),
        Line2D([], [], marker=".", ls="", mfc="#ff7a3c", mec="none", ms=7, label="LiDAR return, colour by depth"),
    ]
    key = axes.legend(
        handles=marks,
        loc="lower left" if is_at_the_right else "lower right",
        fontsize=10,
        labelcolor="white",
        facecolor="black",
    )
    key.get_frame().set(alpha=0.6, linewidth=0)


def draw_plan(
    axes: Axes, frames: FrameSet, sampled: SampledFrame, pair: RayPair, boxes: Boxes3D | None, points: Float32Array
) -> None:
    """Draw vehicle, objects, measured points, the ray and both cells from above."""
    cells = [(pair.surface, SURFACE, "A"), (pair.other, OTHER, "B")]
    places = np.array([sampled.outline(int(sampled.cell[row])).mean(axis=0) for row, _, _ in cells])
    reach = float(np.abs(places).max()) + 12.0
    plan = draw_bev(Boxes3D.empty("base_link", ("car",)), boxes, range_m=reach, size_px=1400)
    axes.imshow(plan, extent=(reach, -reach, -reach, reach), interpolation="lanczos")
    near = points[(np.abs(points[:, :2]) < reach).all(axis=1) & (points[:, 2] > 0.3)]
    axes.scatter(near[:, 1], near[:, 0], s=2.0, color="#93a5b8", lw=0, zorder=2)
    start = frames.views[sampled.cameras[sampled.camera[pair.surface]]].T_base_cam[:2, 3]
    farthest = places[np.linalg.norm(places - start, axis=1).argmax()]
    axes.plot([start[1], farthest[1]], [start[0], farthest[0]], color="white", lw=1.4, ls=(0, (5, 3)), zorder=3)
    for (row, color, letter), place in zip(cells, places, strict=True):
        outline = sampled.outline(int(sampled.cell[row]))
        axes.fill(outline[:, 1], outline[:, 0], facecolor=color, edgecolor="black", lw=0.8, zorder=4)
        axes.text(
            place[1],
            place[0],
            letter,
            color="black",
            fontsize=13,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=5,
        )
    seen = np.concatenate([places, [[-2.0, 0.0]]])
    middle, half = (seen.max(0) + seen.min(0)) / 2, float(np.ptp(seen, axis=0).max()) / 2 + 3.0
    axes.set(xlim=(middle[1] + half, middle[1] - half), ylim=(middle[0] - half, middle[0] + half))
    axes.axis("off")


def draw_profile(axes: Axes, sampled: SampledFrame, pair: RayPair) -> None:
    """Draw the depth scores along the ray through the place that both queries sample, and where the queries stand."""
    camera = int(sampled.camera[pair.surface])
    depths, scores = depth_profile(sampled, camera, sampled.anchors[pair.surface, pair.surface_anchor, :2])
    axes.bar(depths, scores, width=depths[1] - depths[0], color=MEASURED, label="measured surface")
    queries = [
        (pair.surface, pair.surface_anchor, SURFACE, "A"),
        (pair.other, pair.other_anchor, OTHER, "B"),
    ]
    last = max(float(sampled.anchors[row, anchor, 2]) for row, anchor, _, _ in queries) + 9.0
    nearer = min(float(sampled.anchors[row, anchor, 2]) for row, anchor, _, _ in queries)
    for row, anchor, color, letter in queries:
        depth, score = sampled.anchors[row, anchor, 2], sampled.anchor_scores[row, anchor]
        axes.axvline(depth, color=color, lw=2.5)
        axes.plot([depth], [score], "o", color=color, ms=10, mec="black", clip_on=False, zorder=5)
        side = -1 if depth == nearer and depth > 0.33 * last else 1
        axes.text(
            depth + side * 0.025 * last,
            0.55,
            f"{letter} at {depth:.1f} m\nscore {score:.2f}",
            color=INK,
            fontsize=11,
            ha="right" if side < 0 else "left",
            va="center",
            bbox={"facecolor": BACKGROUND, "alpha": 0.85, "linewidth": 0, "pad": 1.5},
        )
    axes.set(xlim=(0, last), ylim=(0, 1.12), yticks=[0, 0.5, 1])
    axes.set_xlabel("depth, m", fontsize=11, labelpad=1)
    axes.spines[["top", "right"]].set_visible(False)


def draw_shares(axes: Axes, sampled: SampledFrame, pair: RayPair) -> None:
    """Draw what the queries get of the features that they sample, by plain 2D attention and with depth."""
    rows = ((pair.surface, SURFACE, "A"), (pair.other, OTHER, "B"))
    ticks = []
    for group, shares in ((2.6, sampled.share_2d), (0.6, sampled.share)):
        for (row, color, letter), y in zip(rows, (group + 0.75, group), strict=True):
            axes.barh(y, shares[row], height=0.66, color=color)
            axes.text(shares[row] + 0.015, y, f"{letter}  {shares[row]:.2f}", va="center", fontsize=11, color=INK)
        ticks.append(group + 0.375)
    axes.set(xlim=(0, 1.15), ylim=(0.1, 3.85), xticks=[0, 0.5, 1])
    axes.set_yticks(ticks, ["plain 2D\nattention", "depth-\naware"], fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    raise SystemExit(main())
