"""Measures a reconstructor on meshes: views that it has not seen, and its surface, beside guesses without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.object_meshes import MeshEntry
from lift3d_ros.datasets.object_renders import ObjectRenderer
from lift3d_ros.errors import EngineError
from lift3d_ros.evaluation.object_baselines import ObjectGrid, cut_out, mean_shape
from lift3d_ros.evaluation.object_cases import ObjectCase, make_case, spread_out
from lift3d_ros.evaluation.object_lpips import Lpips, LpipsFiles, lpips_or_reason
from lift3d_ros.evaluation.object_pictures import PictureErrors, check_scikit_image, mean_errors, picture_errors
from lift3d_ros.evaluation.object_surfaces import (
    NUM_POINTS,
    SurfaceErrors,
    aligned,
    empty_surface,
    surface_errors,
    surface_points,
)
from lift3d_ros.pipelines.object_reconstruction import ObjectFrame, ObjectReconstructor
from lift3d_ros.types import Float64Array, ModelIdentity, UInt8Array

MODEL, MEAN_SHAPE, CUT_OUT = "model", "mean_shape", "cut_out"
METHODS: Mapping[str, str] = {
    MODEL: "the model",
    MEAN_SHAPE: "mean shape of known objects, in their mean colour",
    CUT_OUT: "cut-out of the picture, as thick as it is narrow",
}
MOST_KNOWN = 64
"""Objects that the mean shape is made of, at most."""

NOTES = (
    "Every mesh is seen by the camera that the model assumes, framed as the pipeline frames it; views are random.",
    "PSNR and SSIM: of views that the model has not seen, over white, background and all.",
    "Chamfer distance and F-score: in shares of the longest side of the true object, with 10 000 points on each "
    "surface. Those of the true one also lie inside of it, where its mesh has faces there.",
    "Aligned: after ICP with a free size, from 8 turns about the object's up axis; as placed: as the model put it.",
)


@dataclass(frozen=True)
class MethodFigures:
    """What one method made of one object.

    Args:
        unseen: means over the views that it has not seen.
        seen: the view that it was given.
        placed, aligned: of its surface, without and with alignment.
        is_empty: whether it found no surface.
    """

    unseen: PictureErrors
    seen: PictureErrors
    placed: SurfaceErrors
    aligned: SurfaceErrors
    is_empty: bool


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """One object.

    Args:
        figures: method -> figures.
        pictures: the input, then for some views the true one and those of the model, for a sheet.
    """

    name: str
    class_name: str
    figures: Mapping[str, MethodFigures]
    pictures: tuple[UInt8Array, ...]


@dataclass(frozen=True, eq=False)
class ObjectEvaluation:
    """All objects.

    Args:
        known: what the mean shape was made of.
        lpips_problem: why there is no LPIPS, or empty.
    """

    model: ModelIdentity
    objects: tuple[ObjectResult, ...]
    known: str
    lpips_problem: str

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Return means over all objects for each method."""
        return {method: _means([one.figures[method] for one in self.objects]) for method in METHODS}

    def to_json(self) -> dict[str, Any]:
        """Return plain data for metrics.json."""
        classes = sorted({one.class_name for one in self.objects})
        return {
            **self.summary()[MODEL],
            "methods": {method: {"method": METHODS[method], **row} for method, row in self.summary().items()},
            "per_class": {
                name: _means([one.figures[MODEL] for one in self.objects if one.class_name == name]) for name in classes
            },
            "per_object": {one.name: {"class": one.class_name, **one.figures} for one in self.objects},
            "mean_shape_of": self.known,
            "lpips_missing": self.lpips_problem or None,
            "notes": NOTES,
        }


def evaluate_objects(
    reconstructor: ObjectReconstructor,
    entries: Sequence[MeshEntry],
    known: Sequence[MeshEntry],
    *,
    num_views: int = 4,
    side: int = 128,
    seed: int = 0,
    lpips_files: LpipsFiles | None = None,
    on_object: Callable[[int, int], object] = lambda done, total: None,
) -> ObjectEvaluation:
    """Reconstruct each mesh from one picture, and compare.

    Args:
        known: meshes that the mean shape is made of; those of `entries` where there are none.
        num_views: views beside that of the picture.
        side: of the compared views, px.
        lpips_files: weights of LPIPS; None looks where torch and the package lpips keep them.
        on_object: called with how much is done, and of how much.

    Raises:
        DatasetError: a mesh cannot be read.
        RenderingError: there is no OpenGL.
        WeightsError: a file of LPIPS is missing or of something else.
        EngineError: the reconstructor renders no views to compare.
        Lift3dError: scikit-image is not installed.
    """
    check_scikit_image()
    if not reconstructor.renders_views:
        raise EngineError(
            f"model '{reconstructor.identity.name}': is an exported graph, which renders no views to compare; give "
            "the name of the model, or its weights, which PyTorch runs"
        )
    lpips, lpips_problem = lpips_or_reason(lpips_files, side)
    config = reconstructor.model_config
    few = spread_out(known or entries, MOST_KNOWN)
    total, done = len(few) + len(entries), 0

    def advance() -> None:
        nonlocal done
        done += 1
        on_object(done, total)

    results = []
    with ObjectRenderer(config.image.side) as first, ObjectRenderer(side) as second:
        mean = mean_shape(few, config, (first, second), seed, advance)
        for entry in entries:
            case = make_case(entry, config, (first, second), num_views, seed)
            results.append(_evaluate(reconstructor, case, mean, lpips, seed))
            advance()
    kind = "meshes of the split train" if known else "of the evaluated meshes themselves, as there is no split train"
    return ObjectEvaluation(reconstructor.identity, tuple(results), f"{len(few)} {kind}", lpips_problem)


def _evaluate(
    reconstructor: ObjectReconstructor, case: ObjectCase, mean: ObjectGrid, lpips: Lpips | None, seed: int
) -> ObjectResult:
    frame = ObjectFrame(case.rgba[..., :3], case.rgba[..., 3], name=case.name)
    found = reconstructor.infer(reconstructor.prepare(frame))
    side, focal = case.pictures[0].shape[0], reconstructor.model_config.view.focal
    rendered = reconstructor.render(found.planes, case.T_model_cameras, side)
    figures = {MODEL: _figures(case, rendered, found.vertices, found.faces, lpips, seed)}
    for method, grid in ((MEAN_SHAPE, mean), (CUT_OUT, cut_out(case, reconstructor.model_config))):
        views = [grid.render(pose, focal, side) for pose in case.T_model_cameras]
        figures[method] = _figures(case, views, *grid.surface(), lpips, seed)
    pairs = [picture for pair in zip(case.pictures[1:], rendered[1:], strict=True) for picture in pair]
    return ObjectResult(case.name, case.class_name, figures, (case.pictures[0], rendered[0], *pairs))


def _figures(
    case: ObjectCase,
    views: Sequence[UInt8Array],
    vertices: Float64Array,
    faces: NDArray[Any],
    lpips: Lpips | None,
    seed: int,
) -> MethodFigures:
    seen, *unseen = [picture_errors(view, truth, lpips) for view, truth in zip(views, case.pictures, strict=True)]
    placed = fitted = empty_surface()
    if len(faces):
        points = surface_points(vertices, faces, np.random.default_rng(seed), NUM_POINTS)
        placed = surface_errors(points, case.surface, case.longest_side)
        fitted = surface_errors(aligned(points, case.surface, case.up), case.surface, case.longest_side)
    return MethodFigures(mean_errors(unseen), seen, placed, fitted, not len(faces))


def _means(figures: Sequence[MethodFigures]) -> dict[str, float | None]:
    """Return means over objects; those without a surface have an F-score of 0 and no Chamfer distance."""
    unseen, seen = mean_errors([one.unseen for one in figures]), mean_errors([one.seen for one in figures])
    row: dict[str, float | None] = {
        "psnr": unseen.psnr, "ssim": unseen.ssim, "lpips": unseen.lpips, "psnr_of_input": seen.psnr,
    }  # fmt: skip
    for name in ("placed", "aligned"):
        errors: list[SurfaceErrors] = [getattr(one, name) for one in figures]
        known = [one.chamfer for one in errors if np.isfinite(one.chamfer)]
        row[f"chamfer_{name}"] = float(np.mean(known)) if known else None
        for threshold in errors[0].f_scores:
            row[f"f_score_{threshold}_{name}"] = float(np.mean([one.f_scores[threshold] for one in errors]))
    row["empty"] = float(sum(one.is_empty for one in figures))
    row["objects"] = float(len(figures))
    return row
