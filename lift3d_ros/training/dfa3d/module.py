"""The BEV detector in training: sequences in, losses out; the last frame of each is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lift3d_ros.datasets.cell_depths import CELL
from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.dfa3d.dense_losses import proposal_losses
from lift3d_ros.models.dfa3d.depth_head import resize_scores, scores_of_codes
from lift3d_ros.models.dfa3d.losses import SetPredictionLoss
from lift3d_ros.models.dfa3d.proposals import Proposals
from lift3d_ros.training.dfa3d.batch import Batch, FrameInputs, apply_changes
from lift3d_ros.training.dfa3d.folding import fold_stored_norms
from lift3d_ros.training.dfa3d.loss import (
    decoder_losses,
    motion_loss,
    padded_targets,
    predicted_depth_loss,
    start_matching,
)
from lift3d_ros.training.dfa3d.network import TrainedDetector, frozen_parts
from lift3d_ros.training.dfa3d.pairs import find_pairs
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.training.dfa3d.validation import Validation
from lift3d_ros.training.run import TrainedModule

_PICTURES_TOGETHER = 32
CENTER_SCATTER_M = 0.5  # how far off the centres of found boxes are, for which velocities will be asked


class FrameOutputs(NamedTuple):
    """What the network gives for one frame.

    Args:
        layers: class logits and box codes of each decoder layer.
        depth_codes: (N, K, h, w), None where depth is not predicted.
        proposals: None where queries are learned.
        perspective: (N, classes, h, w) logits, None where they are not trained.
        bev, aligned: (B, cells, C) the map, and that of the frame before, moved to where the vehicle is now.
    """

    layers: list[tuple[Tensor, Tensor]]
    depth_codes: Tensor | None
    proposals: Proposals | None
    perspective: Tensor | None
    bev: Tensor
    aligned: Tensor


class Dfa3dModule(TrainedModule):
    """Trains a detector by a recipe."""

    def __init__(self, network: TrainedDetector, recipe: Dfa3dTraining) -> None:
        """Train `network` in place."""
        super().__init__()
        self.network: TrainedDetector = network
        self.recipe = recipe
        self.figures: Mapping[str, Tensor] = {}
        # Labels made by hand often have no velocity; their places and sizes are learned all the same.
        self.set_loss = SetPredictionLoss(drops_unknown=False, free_heading=recipe.loss.free_heading)
        self._validation = Validation(recipe.network)
        for part in (network.backbone, network.neck, network.depth_head):
            if part is not None:
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(network.backbone, EfficientNetLite):
            fold_stored_norms(network.backbone, is_short=recipe.run.precision == "bfloat16")
        if recipe.run.has_gradient_checkpoints:
            _keep_less(network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW with groups for the backbone, for motion head and refinement, and for the rest."""
        run, loss = self.recipe.run, self.recipe.loss
        parts: list[tuple[nn.Module, float]] = [(self.network.backbone, loss.backbone_rate)]
        if self.network.motion is not None:
            parts.append((self.network.motion, loss.motion_rate))
        if self.network.refinement is not None:
            parts.append((self.network.refinement, loss.refinement_rate))
        known = {id(parameter) for part, _ in parts for parameter in part.parameters()}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups = []
        for parameters, factor in (*((list(part.parameters()), factor) for part, factor in parts), (rest, 1.0)):
            trained = [parameter for parameter in parameters if parameter.requires_grad]
            if trained:
                rate = run.learning_rate * factor
                groups.append({"params": trained, "lr": rate, "initial_lr": rate})
        return torch.optim.AdamW(groups, weight_decay=run.weight_decay, fused=True)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Bring a batch to the device."""
        return batch.to(device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of all losses."""
        outputs, frame = self._forward(batch)
        losses = self.losses(outputs, frame, batch)
        self.figures = {name: value.detach() for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Note losses and boxes."""
        outputs, frame = self._forward(batch)
        self._validation.add(batch, frame, outputs.layers[-1], self.losses(outputs, frame, batch))

    def validation_figures(self) -> dict[str, float]:
        """Return mean losses and the centre-distance AP at 2 m, over the samples of all processes."""
        return self._validation.figures()

    def draw_validation(self, folder: Path, step: int) -> None:
        """Draw boxes on the pictures of the first samples."""
        self._validation.draw(folder, step)

    def bad_batch(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return all tensors of a batch, dotted name -> tensor, and how many of the targets are of each sample."""
        return {**dict(_tensors(batch, "")), "target_counts": torch.tensor(batch.target_counts)}

    def sample_names(self, batch: Batch) -> Sequence[str]:
        """Return scene and index of the trained frame of each sample."""
        return batch.names

    def losses(self, outputs: FrameOutputs, frame: FrameInputs, batch: Batch) -> dict[str, Tensor]:
        """Return all named losses of the last frame."""
        codes, labels = batch.codes, batch.labels
        matching = start_matching(outputs.layers, codes, labels, self.set_loss)
        others = self._other_losses(outputs, frame, batch)  # a GPU computes them while pairs are found
        num_pairs = sum(min(len(part), outputs.layers[0][0].shape[1]) for part in codes)
        average = self._mean_over_processes(float(num_pairs))
        return decoder_losses(outputs.layers, codes, labels, self.set_loss, average, matching) | others

    def _other_losses(self, outputs: FrameOutputs, frame: FrameInputs, batch: Batch) -> dict[str, Tensor]:
        """Return the losses that need no matching."""
        codes, labels, weights = batch.codes, batch.labels, self.recipe.loss
        losses = {}
        if outputs.depth_codes is not None:
            losses["loss_depth"] = predicted_depth_loss(
                outputs.depth_codes, frame.cell_depths, self.recipe.network, weights.depth
            )
        if outputs.proposals is not None:
            dense = proposal_losses(outputs.proposals, codes, labels, self.recipe.network, weights.free_heading)
            losses |= {name: weights.proposals * value for name, value in dense.items()}
        if outputs.perspective is not None:
            with _exact_products():
                seen = self.network.perspective.loss(
                    outputs.perspective, frame.image_from_model, frame.sample, codes, labels
                )
            losses["loss_perspective"] = weights.perspective * seen
        if self.network.motion is not None:
            centers = padded_targets(codes, CENTER_SCATTER_M if self.training else 0.0)
            found = self.network.motion(outputs.bev, outputs.aligned, centers.places, frame.history_age)
            losses["loss_motion"] = weights.motion * motion_loss(found, centers, frame.history_valid)
        return losses

    def _mean_over_processes(self, value: float) -> Tensor:
        mean = torch.full((), value, device=self.device)
        trainer = self._trainer
        # Not in a validation, where processes may have different numbers of batches and would wait for ever.
        if self.training and trainer is not None and trainer.world_size > 1:
            mean = trainer.strategy.reduce(mean, reduce_op="mean")
        return mean

    def _forward(self, batch: Batch) -> tuple[FrameOutputs, FrameInputs]:
        config = self.recipe.network
        count = len(batch.target_counts)
        history = torch.zeros(count, config.num_cells, config.embed_dims, device=self.device)
        *earlier, last = batch.frames
        if earlier:
            was_training = self.network.training
            self.network.eval()
            with torch.no_grad():
                for frame in earlier:
                    history = self.run_frame(apply_changes(frame), history, has_boxes=False).bev
            self.network.train(was_training)
        ready = apply_changes(last)
        return self.run_frame(ready, history), ready

    def run_frame(self, frame: FrameInputs, history: Tensor, *, has_boxes: bool = True) -> FrameOutputs:
        """Run the network on one frame of every sample."""
        network, config = self.network, self.recipe.network
        assert isinstance(frame.images, Tensor)
        # On a CPU the backward pass of bfloat16 is the slower one: see fold_stored_norms for what is short there.
        is_short = self.recipe.run.precision == "bfloat16" and self.device.type != "cpu"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_short):
            count = len(frame.images)
            rows = self._filled_rows(count)
            pictures = network.image_input(frame.images[rows]).contiguous(memory_format=torch.channels_last)
            features = network.backbone(pictures)
            maps = network.pyramid(features)
            windows = network.window_features(features, maps) if has_boxes else []
            codes = network.predict_depth(maps, frame.image_from_model[rows])
        maps = [level.float() for level in maps]
        seen = network.perspective(maps[0])[:count] if has_boxes and self.recipe.loss.perspective else None
        maps = [level[:count] for level in maps]
        if codes is not None:
            codes = codes[:count].float()
            found = scores_of_codes(codes, config.depth)
            scores = [resize_scores(found, int(level.shape[-2]), int(level.shape[-1])) for level in maps]
        else:
            scores = network.depth_scores(maps, frame.image_from_model, self._measured(frame))
        cameras = network.embed_cameras(maps, scores, frame.image_from_model, frame.camera_rows)
        with _exact_products():
            # Found here, as the device does it faster than the thread that makes the batches.
            pairs = find_pairs(frame.image_from_model, frame.sample, len(frame.history_valid), config)
            places = network.place(frame.image_from_model, pairs.camera, pairs.cell, pairs.of_cell, cameras.levels)
        aligned = network.align(history, frame.ego)
        bev = network.encode(cameras, places, frame.ego, frame.history_valid, aligned, frame.history_age)
        if not has_boxes:
            return FrameOutputs([], codes, None, None, bev, aligned)
        proposals = None if network.decoder.proposals is None else network.decoder.proposals(bev)
        layers = network.decoder(bev, proposals)
        if network.refinement is not None:
            windows = [level[:count].float() for level in windows]
            layers.append(network.refinement(windows, *layers[-1], frame.image_from_model, frame.sample))
        return FrameOutputs(layers, codes, proposals, seen, bev, aligned)

    def _filled_rows(self, count: int) -> slice | Tensor:
        """Return rows of so many pictures, on a GPU some of them twice, so that few different counts come.

        cuDNN plans each convolution anew for a count that it has not seen, which takes longer than a step.
        """
        if self.device.type != "cuda":
            return slice(count)
        filled = -(-count // _PICTURES_TOGETHER) * _PICTURES_TOGETHER
        return torch.arange(filled, device=self.device) % count

    def _measured(self, frame: FrameInputs) -> Tensor | None:
        """Return depth maps (N, H, W) for a network that takes measured depth."""
        config = self.recipe.network
        if config.depth.source != "lidar":
            return None
        depths = frame.cell_depths
        maps = depths.new_zeros(len(depths), *config.padded_size)
        sizes = (config.image_height, config.image_width)
        middles = [
            ((torch.arange(count, device=depths.device) + 0.5) * (CELL * scaled / size)).long().clamp(max=scaled - 1)
            for count, scaled, size in zip(depths.shape[-2:], config.scaled_size, sizes, strict=True)
        ]
        maps[:, middles[0][:, None], middles[1]] = depths
        return maps


@contextmanager
def _exact_products() -> Iterator[None]:
    """Keep coordinates exact on a GPU, where products may otherwise be rounded to ten bits."""
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(former)


def _keep_less(network: TrainedDetector) -> None:
    """Compute parts of the backbone again in the backward pass instead of keeping what they computed."""
    backbone = network.backbone
    parts = (
        [backbone.get_submodule(f"layer{number}") for number in range(1, backbone.num_stages + 1)]
        if isinstance(backbone, ResNet)
        else list(backbone.blocks)
    )
    frozen = {id(part) for part in frozen_parts(backbone, network.frozen_stages)}  # of those nothing is kept anyway
    for part in parts:
        if id(part) not in frozen:
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif hasattr(value, "_fields"):
        for field in value._fields:
            yield from _tensors(getattr(value, field), f"{name}.{field}")
    elif hasattr(value, "__dataclass_fields__"):
        for field in value.__dataclass_fields__:
            yield from _tensors(getattr(value, field), f"{name}.{field}" if name else field)
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _tensors(part, f"{name}.{number}")
