"""Trains what reads the BEV map (decoder, proposals, motion head) on stored maps of a network that stays as it is.

Pictures, depth and encoder take most of the time of a training step. With their maps made once, a step of the heads is
several times faster, so the same minutes show them far more samples. Maps are mirrored and transposed at random, with
their boxes; pictures cannot be changed any more. Letters: B samples, C channels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError
from lift3d_ros.models.dfa3d.dense_losses import proposal_losses
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import apply_changes
from lift3d_ros.training.dfa3d.loss import decoder_losses, motion_loss, padded_targets
from lift3d_ros.training.dfa3d.module import CENTER_SCATTER_M, Dfa3dModule
from lift3d_ros.training.dfa3d.network import TrainedDetector
from lift3d_ros.training.dfa3d.order import Window
from lift3d_ros.training.dfa3d.samples import Frames
from lift3d_ros.training.schedule import rate_factor

_FACTS = "maps.json"
_AVERAGED_STEPS = 200  # how many steps the averaged weights look back


class MapSample(NamedTuple):
    """One frame: its map, the earlier one that it uses, moved to where the vehicle is now, and its boxes.

    Args:
        bev, aligned: (cells, C).
        age: seconds between the two; 0 where there is no earlier frame.
        codes, labels: (M, 10) and (M,).
    """

    bev: Tensor
    aligned: Tensor
    age: float
    codes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class HeadSettings:
    """How the heads are trained.

    Args:
        learning_rate: highest one, after a tenth of the steps.
    """

    steps: int = 3000
    batch_size: int = 4
    learning_rate: float = 2e-4
    seed: int = 0


class StoredMaps:
    """The maps of all frames of some packs, in a folder."""

    def __init__(self, folder: Path, network: TrainedDetector) -> None:
        """Open what :func:`store_maps` wrote.

        Raises:
            DatasetError: the folder is not complete.
        """
        self._network = network
        try:
            with np.load(folder / "targets.npz") as file:
                self._arrays: dict[str, NDArray[Any]] = dict(file)
            self._before = self._arrays["before"]
            self._maps = np.load(folder / "maps.npy", mmap_mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f"{folder}: no complete maps ({error}); delete the folder and make them again") from None
        self._starts = np.concatenate([[0], np.cumsum(self._arrays["counts"])]).astype(int)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> MapSample:
        age = float(self._arrays["age"][index])
        bev = self._map(index)
        aligned = torch.zeros_like(bev)
        if age > 0.0:
            ego = torch.from_numpy(self._arrays["ego"][index])
            aligned = self._network.align(self._map(int(self._before[index]))[None], ego[None].to(bev.device))[0]
        part = slice(self._starts[index], self._starts[index + 1])
        codes, labels = (torch.from_numpy(self._arrays[name][part]) for name in ("codes", "labels"))
        return MapSample(bev, aligned, age, codes, labels)

    def _map(self, index: int) -> Tensor:
        return torch.from_numpy(np.asarray(self._maps[index], dtype=np.float32)).to(self._network.grid.low.device)


def store_maps(
    module: Dfa3dModule, frames: Frames, folder: Path, source: str, on_frame: Callable[[int, int], object]
) -> StoredMaps:
    """Run every scene in order and keep the maps, as float16; a folder that holds them already is only opened.

    Args:
        source: what tells the network and the data from others.

    Raises:
        DatasetError: the folder holds maps of another source.
    """
    facts = folder / _FACTS
    if facts.is_file():
        if json.loads(facts.read_text(encoding="utf-8"))["source"] != source:
            raise DatasetError(f"{folder}: holds maps of other weights or data; name another folder, or delete it")
        return StoredMaps(folder, module.network)
    config = module.recipe.network
    folder.mkdir(parents=True, exist_ok=True)
    shape = (frames.count, config.num_cells, config.embed_dims)
    maps: Any = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        folder / "maps.npy", mode="w+", dtype=np.float16, shape=shape
    )
    ego, age = np.zeros((frames.count, 4, 4), np.float32), np.zeros(frames.count, np.float32)
    before = np.zeros(frames.count, np.int64)
    codes, labels = [], []
    recent: dict[int, Tensor] = {}  # maps that later frames may use
    module.network.eval()
    for number, window in enumerate(_windows_in_order(frames, config.history_s)):
        for batch, samples in frames.load(iter([[window]])):
            ready = assemble(batch, samples, frames, module.recipe, is_training=False).to(module.device)
            frame = apply_changes(ready.frames[-1])
            before[number] = window.frames[0]
            recent = {other: bev for other, bev in recent.items() if other >= before[number]}
            history = recent.get(window.frames[0], torch.zeros(1, *shape[1:], device=module.device))
            with torch.no_grad():
                recent[number] = module.run_frame(frame, history, has_boxes=False).bev
            maps[number] = recent[number][0].half().cpu().numpy()
            ego[number], age[number] = frame.ego[0].cpu().numpy(), float(frame.history_age[0])
            codes.append(ready.target_codes.cpu().numpy())
            labels.append(ready.target_labels.cpu().numpy())
        on_frame(number + 1, frames.count)
    maps.flush()
    counts = np.array([len(part) for part in labels])
    np.savez(
        folder / "targets.npz",
        ego=ego,
        age=age,
        before=before,
        codes=np.concatenate(codes),
        labels=np.concatenate(labels),
        counts=counts,
    )
    write_atomically(facts, (json.dumps({"source": source}) + "\n").encode())
    return StoredMaps(folder, module.network)


def _windows_in_order(frames: Frames, history_s: float) -> Iterator[Window]:
    for scene in frames.scenes():
        for index in range(len(scene.stamps_ns)):
            number, before = scene.first + index, scene.first + scene.before(index, history_s)
            yield Window((before, number) if index else (number,), number, index > 0)


def train_heads(
    module: Dfa3dModule,
    maps: StoredMaps,
    settings: HeadSettings,
    on_step: Callable[[int, dict[str, float]], object] = lambda step, figures: None,
) -> dict[str, Tensor]:
    """Train the heads of the network in place, and return the averaged weights of the whole network.

    Raises:
        ConfigError: the network moves its maps by can_bus, which stored maps do not have, or codes headings otherwise.
        Lift3dError: the loss is not finite.
    """
    network, recipe = module.network, module.recipe
    for name, found, expected in (
        ("ego_input", recipe.network.ego_input, "transform"),
        ("yaw_code", recipe.network.yaw_code, "heading"),
    ):
        if found != expected:
            raise ConfigError(f"network.{name} is '{found}'; heads are trained alone where it is '{expected}'")
    heads: list[tuple[nn.Module, float]] = [(network.decoder, 1.0)]
    if network.motion is not None:
        heads.append((network.motion, recipe.loss.motion_rate))
    network.requires_grad_(requires_grad=False)
    network.train()
    for inner in network.decoder.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.eval()  # a few maps say less of the statistics than the whole training did
    trained: list[nn.Parameter] = []
    groups = []
    for head, factor in heads:
        head.requires_grad_(requires_grad=True)
        trained += list(head.parameters())
        groups.append({"params": list(head.parameters()), "lr": settings.learning_rate * factor})
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.run.weight_decay)
    run = replace(recipe.run, max_steps=settings.steps, max_minutes=0.0, warmup_steps=settings.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(run, step, 0.0))
    averaged = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    for step in range(1, settings.steps + 1):
        drawn = [_flipped(maps[int(index)], rng, recipe.network.bev_height, recipe.network.bev_width)
                 for index in rng.integers(0, len(maps), settings.batch_size)]  # fmt: skip
        losses = _losses(module, drawn)
        total = torch.stack(list(losses.values())).sum()
        if not math.isfinite(float(total.detach())):
            raise Lift3dError(f"step {step}: the loss is {float(total.detach())}; try a lower learning rate")
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, recipe.run.clip or math.inf)
        optimizer.step()
        schedule.step()
        share = max(1.0 / step, 1.0 / _AVERAGED_STEPS)
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averaged[name].lerp_(tensor, share)
        on_step(step, {name: float(value.detach()) for name, value in losses.items()})
    return averaged


def _losses(module: Dfa3dModule, drawn: Sequence[MapSample]) -> dict[str, Tensor]:
    network, recipe = module.network, module.recipe
    bev, aligned = (torch.stack([getattr(one, name) for one in drawn]).to(module.device) for name in ("bev", "aligned"))
    age = torch.tensor([one.age for one in drawn], device=module.device)
    codes = [one.codes.to(module.device) for one in drawn]
    labels = [one.labels.to(module.device) for one in drawn]
    proposals = None if network.decoder.proposals is None else network.decoder.proposals(bev)
    losses = decoder_losses(network.decoder(bev, proposals), codes, labels, module.set_loss)
    if proposals is not None:
        dense = proposal_losses(proposals, codes, labels, recipe.network, recipe.loss.free_heading)
        losses |= {name: recipe.loss.proposals * value for name, value in dense.items()}
    if network.motion is not None:
        targets = padded_targets(codes, CENTER_SCATTER_M)
        found = network.motion(bev, aligned, targets.places, age)
        losses["loss_motion"] = recipe.loss.motion * motion_loss(found, targets, (age > 0.0).float())
    return losses


def _flipped(sample: MapSample, rng: np.random.Generator, height: int, width: int) -> MapSample:
    """Return a sample with x and y mirrored and, of a square map, exchanged at random."""
    pictures = torch.stack([sample.bev, sample.aligned]).reshape(2, height, width, -1)
    codes = sample.codes.clone()
    for axis, (center, heading, velocity) in enumerate(((0, 7, 8), (1, 6, 9))):
        if rng.random() < 0.5:
            pictures = pictures.flip(2 - axis)
            codes[:, [center, heading, velocity]] *= -1.0
    if height == width and rng.random() < 0.5:
        pictures = pictures.transpose(1, 2)
        codes[:, [0, 1, 6, 7, 8, 9]] = codes[:, [1, 0, 7, 6, 9, 8]]
    bev, aligned = pictures.reshape(2, height * width, -1)
    return sample._replace(bev=bev, aligned=aligned, codes=codes)


def digest_of(network: TrainedDetector) -> str:
    """Return what tells the weights of a network from others."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def facts_of(settings: HeadSettings) -> str:
    """Return the settings as text, for the header of the weights."""
    return json.dumps(asdict(settings))
