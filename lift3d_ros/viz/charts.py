"""Charts of an evaluation as SVG, the same bytes for the same figures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import Float64Array
from lift3d_ros.viz.palette import class_color

_STYLE = {
    "svg.hashsalt": "lift3d",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_SHADES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")

Line = tuple[Float64Array, Float64Array]


def precision_recall_chart(curves: Mapping[str, Mapping[float, Line]]) -> bytes:
    """Return one small chart for each class.

    Args:
        curves: class -> distance threshold in metres -> recall and precision, (K,) each.
    """
    plt = _pyplot()
    columns = min(len(curves), 5)
    rows = -(-len(curves) // columns)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(2.5 * columns, 2.3 * rows), squeeze=False, sharex=True, sharey=True
        )
        for axis in axes.flat[len(curves) :]:
            axis.set_axis_off()
        for axis, (name, lines) in zip(axes.flat, curves.items(), strict=False):
            for color, (threshold, (recall, precision)) in zip(_SHADES, lines.items(), strict=False):
                reached = precision > 0
                axis.plot(recall[reached], precision[reached], color=color, linewidth=1.4, label=f"{threshold:g} m")
            axis.set(title=name.replace("_", " "), xlim=(0, 1), ylim=(0, 1.02))
        axes[0, 0].legend(title="centre distance", title_fontsize=8)
        for axis in axes[-1]:
            axis.set_xlabel("recall")
        for axis in axes[:, 0]:
            axis.set_ylabel("precision")
        return _svg(figure)


def histogram_chart(values: Mapping[str, Float64Array]) -> bytes:
    """Return a histogram for each name; a name tells quantity and unit. Values beyond the 99th percentile are cut."""
    plt = _pyplot()
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(values), figsize=(3.0 * len(values), 2.3), squeeze=False)
        for axis, (name, samples) in zip(axes[0], values.items(), strict=True):
            finite = samples[np.isfinite(samples)]
            axis.set_xlabel(name)
            if len(finite):
                top = max(float(np.percentile(finite, 99)), 1e-6)
                axis.hist(finite, bins=40, range=(0.0, top), color=_SHADES[1])
                median = float(np.median(finite))
                axis.axvline(median, color=_SHADES[3], linewidth=1.2)
                axis.set_title(f"median {median:.2f}, {len(finite)} pairs")
        axes[0, 0].set_ylabel("pairs")
        return _svg(figure)


def distance_chart(edges_m: Float64Array, lines: Mapping[str, Float64Array], ylabel: str) -> bytes:
    """Return lines over distance.

    Args:
        edges_m: (K + 1,) borders of the bins.
        lines: name -> (K,) values, NaN where there is none; names of classes have their colour.
    """
    plt = _pyplot()
    centers = (edges_m[1:] + edges_m[:-1]) / 2
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(11.0, 3.2))
        for name, values in lines.items():
            is_all = name == "all"
            color = "black" if is_all else tuple(channel / 255 for channel in class_color(name))
            width = 2.4 if is_all else 1.3
            axis.plot(centers, values, marker="o", markersize=3, color=color, linewidth=width, label=name)
        axis.set(xlabel="distance from the vehicle, m", ylabel=ylabel, ylim=(0, 1.02), xlim=(edges_m[0], edges_m[-1]))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)


def ratio_chart(rows: Mapping[str, Mapping[str, float]], reference: str) -> bytes:
    """Return bars of ratios, one row for each name; a dashed line stands at 1.

    Args:
        rows: name -> what -> ratio, NaN where there is none; each name has the same keys, the first drawn as a bar and
            the others as marks.
        reference: what the ratio divides by, for the axis.
    """
    plt = _pyplot()
    names, marks = list(rows), ("D", "o", "v", "s", "^", "x")
    keys = list(next(iter(rows.values())))
    place = np.arange(len(names))[::-1]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(11.0, 0.24 * len(names) + 1.2))
        for number, key in enumerate(keys):
            values = np.array([rows[name][key] for name in names])
            if number == 0:
                axis.barh(place, values, height=0.62, color=_SHADES[0], label=key)
            else:
                axis.plot(values, place, marks[(number - 1) % len(marks)], markersize=4, label=key)
        axis.axvline(1.0, color="black", linewidth=1.0, linestyle="--")
        axis.set(xlabel=f"error / {reference}", ylim=(-0.7, len(names) - 0.3), xlim=(0, None))
        axis.set_yticks(place, names)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)


def reliability_chart(panels: Mapping[str, Line]) -> bytes:
    """Return a panel for each quantity: found over stated values, (K,) each, and the line on which they are equal."""
    plt = _pyplot()
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, max(3, len(panels)), figsize=(11.0, 3.2), squeeze=False)
        for axis in axes[0, len(panels) :]:
            axis.set_axis_off()
        for axis, (name, (stated, found)) in zip(axes[0], panels.items(), strict=False):
            ends = [min(stated.min(), found.min()), max(stated.max(), found.max())]
            axis.plot(ends, ends, color="black", linewidth=1.0, linestyle="--")
            axis.plot(stated, found, marker="o", markersize=4, color=_SHADES[2])
            axis.set(title=name, xlabel="stated", ylabel="found")
        return _svg(figure)


def check_charts() -> None:
    """Say at once what would prevent charts later; raises Lift3dError where matplotlib is missing."""
    _pyplot()


def _pyplot() -> Any:
    try:
        import matplotlib as mpl

        mpl.use("agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise Lift3dError(
            f"charts need matplotlib, which cannot be imported ({error}); install it with 'pip install matplotlib', or "
            "leave the report out with --no-report"
        ) from None
    return plt


def _svg(figure: Any) -> bytes:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return buffer.getvalue()
