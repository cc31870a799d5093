"""First weights of a training: random, of a file, or of a model of the manifest, as far as they fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.training.checkpoint import read_checkpoint
from lift3d_ros.training.dfa3d.network import TrainedDetector
from lift3d_ros.weights.manifest import find_model, verified_weights_path

_BACKBONE = "backbone."


@dataclass(frozen=True)
class InitReport:
    """What was taken from other weights.

    Args:
        taken: how many tensors were.
        reshaped: names of tensors of another shape, which keep their random start; a class head for other classes.
        missing: tensors of the network that the weights do not have.
        unused: tensors of the weights that the network does not have.
        is_backbone: whether the weights are those of a picture backbone alone.
    """

    source: str
    taken: int
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    is_backbone: bool = False

    @property
    def warning(self) -> str | None:
        """Return what is odd about this start, None where most of the network was found."""
        total = self.taken + len(self.reshaped) + len(self.missing)
        if self.is_backbone or 2 * self.taken >= total:
            return None
        return (
            f"{self.source}: only {self.taken} of the {total} tensors of the network were found in it, the rest starts "
            "at random; is it of another preset? Name that one with --set preset=NAME"
        )

    def describe(self) -> str:
        """Return a few lines for a person."""
        what = ", of a picture backbone; the rest of the network starts at random" if self.is_backbone else ""
        lines = [f"started from {self.source}: {self.taken} tensors taken{what}"]
        for title, names in (
            ("of another shape, starts at random", self.reshaped),
            ("not in these weights, starts at random", self.missing),
            ("not in this network, left out", self.unused),
        ):
            if names:
                more = f" and {len(names) - 6} more" if len(names) > 6 else ""
                lines.append(f"  {title}: {', '.join(names[:6])}{more}")
        return "\n".join(lines)


def start_from(network: nn.Module, name_or_file: str) -> InitReport:
    """Load what fits of a ``.safetensors`` file, a checkpoint of 'lift3d train', or a model of the manifest.

    A ``.pth`` file is a published picture backbone, of which the layers behind the features are left out.

    Raises:
        WeightsError: there is no such file or model, it is damaged or untrained, or nothing of it fits.
    """
    found = _read(name_or_file)
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in found.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise WeightsError(
            f"{name_or_file}: not one of its {len(found)} tensors has a place in this network; give weights of a model "
            "of this package"
        )
    bad = [name for name, tensor in fitting.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise WeightsError(f"{name_or_file}: '{bad[0]}' holds numbers that are not finite; its training has failed")
    network.load_state_dict({**own, **fitting})
    return InitReport(
        name_or_file,
        len(fitting),
        tuple(name for name, tensor in found.items() if name in own and own[name].shape != tensor.shape),
        tuple(name for name in own if name not in found),
        tuple(name for name in found if name not in own),
        is_backbone=all(name.startswith(_BACKBONE) for name in found),
    )


def check_frozen(network: TrainedDetector, report: InitReport | None) -> None:
    """Refuse to freeze what starts at random, because it would stay so.

    Raises:
        ConfigError: names a tensor.
    """
    frozen = {name for name in network.frozen_names if not name.endswith("num_batches_tracked")}  # that is not used
    random = frozen if report is None else frozen & {*report.missing, *report.reshaped}
    if random:
        raise ConfigError(
            f"loss.frozen_stages is {network.frozen_stages}, and '{min(random)}' would start at random and stay so; "
            "give --init-from a trained model or the .pth file of a published backbone, or --set loss.frozen_stages=0"
        )


def _read(name_or_file: str) -> Mapping[str, Tensor]:
    path = Path(name_or_file)
    if path.suffix in (".ckpt", ".json"):
        if not path.is_file():
            raise WeightsError(f"{path}: file not found; give a checkpoint of 'lift3d train'")
        return {name: tensor for name, tensor in read_checkpoint(path).averaged.items() if isinstance(tensor, Tensor)}
    if path.suffix == ".pth":
        return _published_backbone(path)
    if path.suffix != ".safetensors":
        weights = verified_weights_path(name_or_file, find_model(name_or_file))
        if weights is None:
            raise WeightsError(f"model '{name_or_file}': has no trained weights to start from; name another model")
        path = weights
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({' '.join(str(error).split())})") from None
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def _published_backbone(path: Path) -> Mapping[str, Tensor]:
    """Return the weights of a classifier under the names that they have in a detector."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise WeightsError(f"{path}: holds no table of tensors; expected the state of a published picture backbone")
    return {f"{_BACKBONE}{'.'.join(part.lstrip('_') for part in name.split('.'))}": found[name] for name in found}
