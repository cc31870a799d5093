"""Reads the 2D teacher of a pre-training: our own, the visual half of CLIP, DINO or DINOv2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lift3d_ros.config import from_mapping
from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.models.backbones.vit_config import dino_config
from lift3d_ros.models.backbones.vit_keys import DINO_SIGNS, our_dino_names
from lift3d_ros.models.i2p_mae.config import TeacherConfig
from lift3d_ros.models.i2p_mae.dino_teacher import DinoTeacher
from lift3d_ros.models.i2p_mae.projection import IMAGE_SIZE
from lift3d_ros.models.i2p_mae.teacher import ClipVisionTransformer, SmallTeacher
from lift3d_ros.pipelines.network_source import WEIGHTS_ENDING, read_header
from lift3d_ros.pipelines.point_network import header_group
from lift3d_ros.weights.checkpoint import read_checkpoint
from lift3d_ros.weights.manifest import find_model, sha256_of, verified_weights_path

TEACHER_METHOD = "i2p_mae_teacher"  # of the manifest
_CLIP = "visual."
_HEAD_DIMS = 64  # of every published one


@dataclass(frozen=True, eq=False)
class LoadedTeacher:
    """A teacher, and how many channels its features have."""

    network: nn.Module
    dims: int
    sha256: str


def find_teacher(name: str) -> Path:
    """Return the weights of the teacher called `name` in a manifest, or the file of that name.

    Raises:
        WeightsError: no such model or file, or it is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix:
        raise WeightsError(
            f"--teacher {name}: not found; give the weights.safetensors that '--stage teacher' wrote, a state dict of "
            "CLIP, DINO or DINOv2, or the name of a model"
        )
    entry = find_model(name)
    weights = verified_weights_path(name, entry) if entry.method == TEACHER_METHOD else None
    if weights is None:
        raise WeightsError(
            f"model '{name}': method '{entry.method}' with preset '{entry.preset}' is no trained 2D teacher; expected "
            f"method '{TEACHER_METHOD}', or the file of a teacher"
        )
    return weights


def load_teacher(path: Path) -> LoadedTeacher:
    """Read what ``lift3d train i2p_mae --stage teacher`` wrote, or a state dict of CLIP, DINO or DINOv2 with a ViT.

    Raises:
        WeightsError: the file is missing, damaged, or none of these.
    """
    state: Mapping[str, Tensor] = read_checkpoint(path).tensors
    if any(name.startswith(_CLIP) for name in state):
        network, dims = _clip({n.removeprefix(_CLIP): t for n, t in state.items() if n.startswith(_CLIP)}, path)
        return LoadedTeacher(network, dims, sha256_of(path))
    if set(DINO_SIGNS) <= set(state):
        network, dims = _dino(state, path)
        return LoadedTeacher(network, dims, sha256_of(path))
    if path.suffix != WEIGHTS_ENDING:
        raise WeightsError(
            f"{path}: none of its {len(state)} weights begins with '{_CLIP}' or is called '{DINO_SIGNS[0]}'; expected "
            "a state dict of CLIP, DINO or DINOv2, or the weights.safetensors that '--stage teacher' wrote"
        )
    header = read_header(path)
    try:
        config = from_mapping(TeacherConfig, header_group(path, header, "teacher"), f"{path}: facts of the teacher")
    except ConfigError as error:
        raise WeightsError(f"{error}. The file belongs to another release of this package") from None
    teacher = SmallTeacher(config)
    _load(teacher, state, path)
    return LoadedTeacher(teacher, config.out_dims, sha256_of(path))


def _clip(state: Mapping[str, Tensor], path: Path) -> tuple[nn.Module, int]:
    """Return the visual half of CLIP with the sizes that its weights have."""
    needed = ("conv1.weight", "positional_embedding", "proj")
    if absent := [name for name in needed if name not in state]:
        raise WeightsError(f"{path}: has no '{_CLIP}{absent[0]}'; expected CLIP with a vision transformer, as ViT-B/16")
    dims, _, patch_size, _ = state["conv1.weight"].shape
    side = round((len(state["positional_embedding"]) - 1) ** 0.5)
    if side * patch_size != IMAGE_SIZE:
        raise WeightsError(
            f"{path}: is for pictures of {side * patch_size} px; expected {IMAGE_SIZE}, the size of the depth maps"
        )
    layers = {name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")}
    out_dims = state["proj"].shape[1]
    network = ClipVisionTransformer(IMAGE_SIZE, patch_size, dims, len(layers), max(1, dims // _HEAD_DIMS), out_dims)
    _load(network, state, path)
    return network, out_dims


def _dino(state: Mapping[str, Tensor], path: Path) -> tuple[nn.Module, int]:
    """Return DINO or DINOv2 with the sizes that its weights have."""
    config = dino_config({name: tuple(tensor.shape) for name, tensor in state.items()})
    if IMAGE_SIZE % config.patch_size:
        raise WeightsError(f"{path}: has patches of {config.patch_size} px; expected a divisor of {IMAGE_SIZE}")
    network = DinoTeacher(config)
    _load(network.vision, {ours: state[name] for name, ours in our_dino_names(state).items()}, path)
    return network, config.width


def _load(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit a teacher: {' '.join(str(error).split())[:400]}") from None
