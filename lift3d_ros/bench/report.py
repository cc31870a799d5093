"""Writes what was measured as JSON, with the command and the machine, and as a table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lift3d_ros
from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.bench.machine import describe_machine
from lift3d_ros.evaluation.metrics_file import git_revision


def write_report(path: Path, command: Sequence[str], device: str, figures: Mapping[str, Any]) -> None:
    """Write `figures` to `path`, atomically, beside the command line and a description of the machine.

    Raises:
        OSError: the file cannot be written.
    """
    document = {
        "command": shlex.join(command),
        "machine": describe_machine(device),
        "git_revision": git_revision(Path(lift3d_ros.__file__).resolve().parents[1]),
        **figures,
    }
    write_document(path, document)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write plain data to `path`, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(document, indent=2) + "\n"
    write_atomically(path, text.encode())


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures as lines of text."""
    lines = (
        *_operator_lines(figures.get("operator", [])),
        *_detector_lines(figures.get("detector", [])),
        *_lifter_lines(figures.get("lifter", [])),
        *_encoder_lines(figures.get("encoder", [])),
        *_reconstructor_lines(figures.get("reconstructor", [])),
    )
    return "\n".join(lines)


def _operator_lines(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for case in cases:
        yield f"{case['case']}, {case['queries']} queries; the operator runs as '{case['operator']}'"
        yield f"  {'form':16} {'forward':>20} {'with backward':>20} {'extra memory':>20} {'error':>8}"
        for name, entry in case["forms"].items():
            if "does_not_fit" in entry:
                size = entry["computed_volume_bytes"] / 1e6
                yield f"  {name:16} does not fit into memory: the volume alone takes {size:.0f} MB (computed)"
                continue
            peak = entry["peak_extra_bytes"]
            memory = "" if peak is None else f"{peak / 1e6:.1f} MB {_ratio(entry['peak_ratio'])}"
            times = f"{_time(entry['forward']):>20} {_time(entry['forward_backward']):>20}"
            yield f"  {name:16} {times} {memory:>20} {entry['relative_rms_error']:8.1e}"


def _time(timing: Mapping[str, Any] | None) -> str:
    return "" if timing is None else f"{timing['min_ms']:.2f} ms {_ratio(timing['min_ratio'])}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"x{value:<6.2f}"


def _detector_lines(detectors: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for detector in detectors:
        yield f"{detector['preset']}, {detector['cameras']} cameras"
        for name, entry in detector["engines"].items():
            memory = "" if entry["peak_bytes"] is None else f"{entry['peak_bytes'] / 1e6:.0f} MB"
            time = f"{entry['min_ms']:10.1f} ms x{entry['min_ratio']:.2f}"
            yield f"  {name:40} {time} {memory:>10} {entry['relative_rms_error']:8.1e}"
        for name, stages in detector["torch_stages_median_ms"].items():
            yield f"  {name}: " + ", ".join(f"{stage} {elapsed:.1f} ms" for stage, elapsed in stages.items())


def _lifter_lines(lifters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for lifter in lifters:
        names = list(lifter["cases"][0]["times"])
        yield f"{lifter['preset']}, median milliseconds"
        yield f"  {'instances':>9} {'joints':>6} " + " ".join(f"{name:>30}" for name in names)
        for case in lifter["cases"]:
            times = " ".join(f"{case['times'][name]['median_ms']:>30.2f}" for name in names)
            yield f"  {case['instances']:>9} {case['joints']:>6} {times}"


def _encoder_lines(encoders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for encoder in encoders:
        crops = [case["crops"] for case in encoder["cases"]]
        yield (
            f"{encoder['preset']}, objects of {encoder['points']} points, reduced to {encoder['reduced_to']}; median "
            "milliseconds of a cloud"
        )
        yield f"  {'objects':40} " + " ".join(f"{count:>20}" for count in crops)
        for name in encoder["cases"][0]["times"]:
            times = [case["times"][name] for case in encoder["cases"]]
            yield f"  {name:40} " + " ".join(
                f"{time['median_ms']:>11.2f} x{time['min_ratio']:<6.2f} " for time in times
            )
        for name, peak in encoder["peak_bytes"].items():
            if peak is not None:
                yield f"  {name}: {peak / 1e6:.0f} MB at the peak with {max(crops)} objects"


def _reconstructor_lines(reconstructors: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for figures in reconstructors:
        yield (
            f"{figures['preset']}, {figures['resolution']} cells: {figures['adaptive_queries']} points of the field in "
            f"place of {figures['dense_queries']}, x{figures['dense_over_adaptive']:.1f} fewer"
        )
        for name, entry in figures["engines"].items():
            memory = "" if entry["peak_bytes"] is None else f"{entry['peak_bytes'] / 1e6:.0f} MB"
            errors = ", ".join(f"{part} {error:.1e}" for part, error in entry["relative_rms_error"].items())
            yield f"  {name:24} {entry['total_median_ms']:10.1f} ms {memory:>10}   errors: {errors}"
            stages = ", ".join(f"{stage} {elapsed:.1f} ms" for stage, elapsed in entry["stages_median_ms"].items())
            yield f"    {stages}"
