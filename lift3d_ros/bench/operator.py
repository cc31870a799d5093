"""Measures 3D deformable attention against the forms written with ``grid_sample``, in one run."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lift3d_ros.bench.machine import available_bytes
from lift3d_ros.bench.memory import ask_fresh_process, peak_of_call
from lift3d_ros.bench.operator_cases import (
    CASES,
    COMPILED_FORMS,
    DTYPES,
    REFERENCE_FORMS,
    WARM_UP,
    Form,
    OperatorCase,
    OperatorInputs,
    find_form,
    operator,
    random_inputs,
)
from lift3d_ros.bench.reference_forms import product_volume_bytes
from lift3d_ros.bench.timing import synchronizer, time_interleaved
from lift3d_ros.errors import EngineError
from lift3d_ros.ops.deformable_attention_3d import choose_implementation

# In the reference forms locations have the type of the features, and in 16 bits they would be wrong by whole pixels.
REFERENCE_DTYPE = "float32"

_LARGE_VOLUME = 1 << 30
_KINDS = ("min", "median")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperatorBench:
    """What to measure the operator with.

    Args:
        device: for example ``cpu`` or ``cuda``.
        threads: CPU threads of torch; 0 leaves the number alone.
        rounds: timed calls of each form, after a first one.
        is_compiled: also measure ``torch.compile`` of the gather form.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    rounds: int = 7
    is_compiled: bool = False


def bench_operator(bench: OperatorBench) -> list[dict[str, Any]]:
    """Measure every case; returns plain data, one entry for each.

    A figure of the naive form that does not fit into the memory left is computed, and marked so.

    Raises:
        EngineError: torch cannot use the device.
    """
    check_device(bench.device)
    if bench.threads:
        torch.set_num_threads(bench.threads)
    return [_bench_case(name, case, bench) for name, case in CASES.items()]


def check_device(device: str) -> None:
    """Refuse a device that torch cannot use.

    Raises:
        EngineError: says what was found.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an assertion
        raise EngineError(
            f"--device '{device}': torch cannot use it ({str(error).splitlines()[0][:200]}); expected for example cpu "
            "or cuda, on a machine that has it and with a torch built for it"
        ) from None


def _bench_case(name: str, case: OperatorCase, bench: OperatorBench) -> dict[str, Any]:
    logger.info("measuring the operator: %s, %s, %s", name, bench.device, bench.dtype)
    exact = random_inputs(case)
    expected = operator("embedding_bag")(exact)
    forms = _forms(bench)
    volume_bytes = product_volume_bytes(case.heads, case.channels, case.bins, case.levels)
    is_naive_possible = volume_bytes * 1.3 < available_bytes(bench.device)
    if not is_naive_possible:
        forms.remove("product_volume")
    dtypes = {form: REFERENCE_DTYPE if form in REFERENCE_FORMS else bench.dtype for form in forms}
    inputs = {form: exact.to(DTYPES[dtypes[form]], bench.device) for form in forms}
    functions = {form: find_form(form) for form in forms}
    with torch.inference_mode():
        calls = {form: functools.partial(functions[form], inputs[form]) for form in forms}
        forward = time_interleaved(calls, bench.rounds, synchronizer(bench.device))
        errors = {form: _relative_rms_error(call(), expected) for form, call in calls.items()}
    # Backward the naive form takes minutes at the large case, for three volumes of gigabytes.
    trained = [form for form in forms if form != "product_volume" or volume_bytes < _LARGE_VOLUME]
    steps = {form: _training_step(functions[form], inputs[form]) for form in trained}
    steps = {form: step for form, step in steps.items() if _is_implemented(step)}
    training = time_interleaved(steps, max(2, bench.rounds // 2), synchronizer(bench.device))
    figures: dict[str, dict[str, Any]] = {
        form: {
            "dtype": dtypes[form],
            "forward": dataclasses.asdict(forward[form]),
            "forward_backward": dataclasses.asdict(training[form]) if form in training else None,
            "peak_extra_bytes": peak_bytes(case, form, dtypes[form], bench.device, bench.threads),
            "relative_rms_error": errors[form],
        }
        for form in forms
    }
    if not is_naive_possible:
        figures["product_volume"] = {"does_not_fit": True, "computed_volume_bytes": volume_bytes}
    value, depth_scores, locations, weights = inputs["embedding_bag"].tensors
    chosen = choose_implementation(value, depth_scores, locations, weights)
    _add_ratios(figures, chosen)
    return {"case": name, **dataclasses.asdict(case), "operator": chosen, "forms": figures}


def _forms(bench: OperatorBench) -> list[str]:
    forms = [*REFERENCE_FORMS, "embedding_bag", "gather"]
    if bench.device == "cpu" and bench.dtype == "float32" and importlib.util.find_spec("numba") is not None:
        forms.append("numba")
    return [*forms, *COMPILED_FORMS] if bench.is_compiled else forms


def _training_step(form: Form, inputs: OperatorInputs) -> Callable[[], None]:
    """Return a call that runs forward and backward, with the gradients of all four inputs."""
    value, depth_scores, locations, weights = (tensor.clone().requires_grad_() for tensor in inputs.tensors)
    leaves = OperatorInputs(value, depth_scores, locations, weights, inputs.levels)

    def step() -> None:
        torch.autograd.grad(form(leaves).float().square().sum(), leaves.tensors)

    return step


def _is_implemented(step: Callable[[], None]) -> bool:
    """Whether torch has the backward pass for this device and type."""
    try:
        step()
    except NotImplementedError:
        return False
    return True


def peak_bytes(case: OperatorCase, form: str, dtype: str, device: str, threads: int) -> int | None:
    """Return the memory that one call takes at its peak beyond its inputs; None where the system does not tell."""
    question = {"case": dataclasses.asdict(case), "form": form, "dtype": dtype, "device": device, "threads": threads}
    if torch.device(device).type != "cpu":
        return _measure_peak(case, form, dtype, device)
    answer = ask_fresh_process("lift3d_ros.bench.operator", question)
    return None if answer is None else int(answer)


def _measure_peak(case: OperatorCase, form: str, dtype: str, device: str) -> int | None:
    with torch.inference_mode():
        call = find_form(form)
        # Whatever is loaded or compiled once must be there before.
        call(random_inputs(WARM_UP).to(DTYPES[dtype], device))
        inputs = random_inputs(case).to(DTYPES[dtype], device)
        if form in COMPILED_FORMS:  # compiled for each shape anew
            call(inputs)
        return peak_of_call(functools.partial(call, inputs), device)


def _answer(question: Mapping[str, Any]) -> int | None:
    """Measure in this process, which has done nothing else before."""
    if question["threads"]:
        torch.set_num_threads(question["threads"])
    sizes = question["case"]
    case = OperatorCase(**{**sizes, "levels": tuple((height, width) for height, width in sizes["levels"])})
    return _measure_peak(case, question["form"], question["dtype"], question["device"])


def _relative_rms_error(found: Tensor, expected: Tensor) -> float:
    difference = found.to("cpu", torch.float64) - expected
    return float(f"{float(difference.square().mean().sqrt() / expected.square().mean().sqrt()):.3g}")


def _add_ratios(figures: dict[str, dict[str, Any]], chosen: str) -> None:
    """Say of each form how often the operator fits into its time and memory."""
    own = figures[chosen]
    for entry in figures.values():
        for part in ("forward", "forward_backward"):
            if entry.get(part) is not None:
                ratios = {f"{kind}_ratio": entry[part][f"{kind}_ms"] / own[part][f"{kind}_ms"] for kind in _KINDS}
                entry[part] = {**entry[part], **{name: round(ratio, 2) for name, ratio in ratios.items()}}
        peak, own_peak = entry.get("peak_extra_bytes", entry.get("computed_volume_bytes")), own["peak_extra_bytes"]
        entry["peak_ratio"] = round(peak / own_peak, 2) if peak and own_peak else None


if __name__ == "__main__":
    print(json.dumps(_answer(json.loads(sys.argv[1]))))
