"""Trains the object reconstructor from a recipe and packs of objects, and writes its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lift3d_ros.datasets.object_pack import ObjectPack
from lift3d_ros.errors import ConfigError, DatasetError, WeightsError
from lift3d_ros.models.backbones.feature_maps import FeatureMaps
from lift3d_ros.models.lrm.network import Lrm
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.export import write_weights
from lift3d_ros.training.lrm.batches import ObjectData
from lift3d_ros.training.lrm.feature_network import load_feature_network
from lift3d_ros.training.lrm.module import LrmModule, build_network
from lift3d_ros.training.lrm.settings import LrmLossSettings, LrmTraining
from lift3d_ros.training.run import RunResult, run
from lift3d_ros.weights.manifest import sha256_of

METHOD = "lrm"


@dataclass(frozen=True)
class TrainResult:
    """How the call ended.

    Args:
        num_objects: of the training data.
        weights: averaged weights; None in all but the first of several processes.
        best: those of the best validation, None without a validation.
    """

    run: RunResult
    num_objects: int
    weights: Path | None = None
    best: Path | None = None


def train(
    recipe: LrmTraining,
    data: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    *,
    init_from: Path | None = None,
    resume: bool = False,
    is_half: bool = False,
    is_quiet: bool = False,
) -> TrainResult:
    """Train until the run or the slice ends.

    Args:
        data, validation: packs of objects; without any for the validation, nothing is validated.
        init_from: weights or a checkpoint to start from; not looked at when a run goes on.
        is_half: write the weights as float16.

    Raises:
        Lift3dError: of data, configuration, weights, or a loss that is not finite.
    """
    packs, held_out = ([open_pack(path, recipe) for path in paths] for paths in (data, validation))
    for group in (packs, held_out):
        if recipe.loss.supervision == "both" and len({pack.has_points for pack in group}) > 1:
            raise ConfigError(
                "loss.supervision is 'both', and only some of the packs know shapes; set loss.supervision=rays, or "
                "train on one kind of packs"
            )
    features, facts = open_feature_network(recipe.loss), recipe.facts
    if features is not None:
        facts["loss.perceptual_network"] = sha256_of(Path(recipe.loss.perceptual_network))
    network = build_network(recipe)
    if init_from is not None and not resume:
        start_from(network, init_from)
    settings = recipe.run if held_out else dataclasses.replace(recipe.run, validation_interval=0)
    module = LrmModule(network, recipe, features)
    batches = ObjectData(packs, held_out, recipe)
    result = run(module, batches, settings, out, method=METHOD, facts=facts, resume=resume, is_quiet=is_quiet)
    found = TrainResult(result, sum(len(pack) for pack in packs))
    if not result.is_first_process:
        return found
    network_facts = json.dumps(dataclasses.asdict(recipe.network))
    header = {"method": METHOD, "preset": recipe.preset, "network": network_facts, "facts": json.dumps(facts)}
    header["step"] = str(result.step)
    weights, best = out / "weights.safetensors", None
    write_weights(weights, result.averaged, header, is_half=is_half)
    if (path := find_checkpoint(out / "checkpoints", "best")) is not None:
        checkpoint, best = read_checkpoint(path), out / "best.safetensors"
        write_weights(best, checkpoint.averaged, {**header, "step": str(checkpoint.step)}, is_half=is_half)
    return dataclasses.replace(found, weights=weights, best=best)


def open_pack(path: Path, recipe: LrmTraining) -> ObjectPack:
    """Open a pack that fits the recipe.

    Raises:
        DatasetError: it is no pack, or made for pictures of another size or framing.
        ConfigError: the recipe learns from points, and the pack has none; or holds out too many of its views.
    """
    pack, image = ObjectPack(path), recipe.network.image
    if (pack.sizes.side, pack.sizes.fill) != (image.side, image.fill):
        raise DatasetError(
            f"{path}: pictures of {pack.sizes.side} px, of which the object takes {pack.sizes.fill:g}; preset "
            f"'{recipe.preset}' expects {image.side} px and {image.fill:g}; pack again with this recipe"
        )
    if recipe.loss.patch_side > image.side:
        raise ConfigError(
            f"loss.patch_side is {recipe.loss.patch_side}, and pictures have {image.side} px; expected at most that"
        )
    if 2 * recipe.data.held_out_views > pack.sizes.views:
        raise ConfigError(
            f"data.held_out_views is {recipe.data.held_out_views}, and objects of {path} have {pack.sizes.views} "
            "views; expected at most half of them"
        )
    if recipe.loss.supervision == "points" and not pack.has_points:
        raise ConfigError(
            f"loss.supervision is 'points', and {path} knows no shapes, only pictures; set loss.supervision=rays"
        )
    return pack


def open_feature_network(settings: LrmLossSettings) -> FeatureMaps | None:
    """Return the network that compares patches, None where the recipe gives that no weight.

    Raises:
        ConfigError: the recipe compares no patches, or names no network.
        WeightsError: the file is of another network.
    """
    if not settings.perceptual_weight:
        return None
    if not settings.patch_side or settings.supervision == "points":
        raise ConfigError(
            f"loss.perceptual_weight is {settings.perceptual_weight:g}, which compares patches, and there are none "
            f"(loss.patch_side is {settings.patch_side}, loss.supervision is '{settings.supervision}'); set "
            "loss.patch_side=64 loss.supervision=both"
        )
    if not settings.perceptual_network:
        raise ConfigError(
            "loss.perceptual_weight is above 0, and loss.perceptual_network names no file; give the published weights "
            "of EfficientNet-Lite0, a ResNet, DINO or DINOv2, see docs/lrm.md"
        )
    return load_feature_network(Path(settings.perceptual_network))


def start_from(network: Lrm, path: Path) -> None:
    """Take the weights of a file over.

    Raises:
        WeightsError: it cannot be read, or belongs to another network.
    """
    state: Mapping[str, Tensor]
    if path.suffix in (".ckpt", ".json"):
        state = dict(read_checkpoint(path).averaged)
    else:
        try:
            state = load_file(str(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: cannot be read as safetensors ({' '.join(str(error).split())})") from None
    own = network.state_dict()
    wrong = sorted(
        name for name in {*own, *state} if name not in own or name not in state or own[name].shape != state[name].shape
    )
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors do not fit this network, '{wrong[0]}' first; expected weights of the same "
            "preset; change 'preset' of the recipe"
        )
    network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})
