"""Pre-training and classification of the point encoder; the 2D teacher has a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.build import build
from lift3d_ros.models.i2p_mae.guidance import ask_teacher
from lift3d_ros.models.i2p_mae.heads import PointClassifier, pool_tokens
from lift3d_ros.models.i2p_mae.losses import classification_loss, feature_loss, point_loss
from lift3d_ros.models.i2p_mae.masking import draw_masks, gumbel_noise, mask_finer_scales
from lift3d_ros.models.i2p_mae.reconstruction import PointAutoencoder
from lift3d_ros.models.i2p_mae.teacher import ImageTeacher
from lift3d_ros.models.i2p_mae.tokenizer import group_scales
from lift3d_ros.training.i2p_mae.batches import CloudBatch
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining
from lift3d_ros.training.run import TrainedModule

_VALIDATION_SEED = 1


class PointModule(TrainedModule):
    """What all stages share: AdamW, and means over the validation batches."""

    def __init__(self, network: nn.Module, recipe: I2pMaeTraining) -> None:
        """Train `network` in place."""
        super().__init__()
        self.network: nn.Module = network
        self.recipe = recipe
        self.figures: Mapping[str, Tensor] = {}
        self._sums: dict[str, float] = {}
        self._count = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW; vectors, and tables of single tokens, do not decay."""
        run = self.recipe.run
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            is_matrix = parameter.ndim > 1 and not name.endswith(("mask_token", "positional_embedding"))
            (decayed if is_matrix else plain).append(parameter)
        rate = run.learning_rate
        groups = [
            {"params": decayed, "lr": rate, "initial_lr": rate, "weight_decay": run.weight_decay},
            {"params": plain, "lr": rate, "initial_lr": rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups)

    def bad_batch(self, batch: CloudBatch) -> Mapping[str, Tensor]:
        """Return the tensors of a batch by name."""
        return batch._asdict()

    def validation_figures(self) -> dict[str, float]:
        """Return means over all validated clouds."""
        figures = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return figures

    def add_up(self, figures: Mapping[str, Tensor | float], count: int) -> None:
        """Take figures of `count` validated clouds into the means."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + count * float(value)
        self._count += count

    def keep_figures(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Note losses, and return their sum."""
        self.figures = {name: value.detach() for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def autocast(self) -> Any:
        """Return the context in which the network runs in the precision of the recipe."""
        is_short = self.recipe.run.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_short)


class PretrainModule(PointModule):
    """Hides most of each cloud, and learns to tell what was there; a teacher is held outside of the network.

    The figure ``nearest`` of the validation is the share of clouds whose nearest other one, by the descriptors of the
    encoder, is of the same class. There is no ``score``: weights that labels choose would not be without labels.
    """

    def __init__(self, recipe: I2pMaeTraining, teacher: nn.Module | None) -> None:
        """Train a network of the recipe, with its guidance by `teacher`."""
        torch.manual_seed(recipe.run.seed)
        super().__init__(build(recipe.network), recipe)
        self._teacher = (teacher,)  # a tuple, so that it is no part of this module
        self._described: list[tuple[Tensor, Tensor]] = []

    def on_fit_start(self) -> None:
        """Bring the teacher to the device."""
        for teacher in self._teacher:
            if teacher is not None:
                teacher.to(self.device).eval().requires_grad_(False)

    def training_step(self, batch: CloudBatch, batch_idx: int) -> Tensor:
        """Return the weighted sum of the losses."""
        return self.keep_figures(self._losses(batch.points, None))

    def validation_step(self, batch: CloudBatch, batch_idx: int) -> None:
        """Note losses with masks that are the same in every validation, and descriptors."""
        generator = torch.Generator(self.device).manual_seed(_VALIDATION_SEED + batch_idx)
        self.add_up(self._losses(batch.points, generator), len(batch.points))
        scales = group_scales(batch.points, self.recipe.network.tokens)
        tokens = self._network.encoder(scales)
        self._described.append((pool_tokens(tokens, self.recipe.network.pooling).float(), batch.labels))

    def validation_figures(self) -> dict[str, float]:
        """Return mean losses, and ``nearest`` where the clouds have labels."""
        figures = super().validation_figures()
        if self._described:
            features, labels = (torch.cat(part) for part in zip(*self._described, strict=True))
            self._described = []
            if len(labels) > 1 and bool((labels >= 0).all()):
                figures["nearest"] = nearest_is_alike(features, labels)
        return figures

    @property
    def _network(self) -> PointAutoencoder:
        return cast("PointAutoencoder", self.network)

    def _losses(self, points: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        config, weights = self.recipe.network, self.recipe.loss
        scales = group_scales(points, config.tokens)
        centers = scales[-1].centers
        (teacher,) = self._teacher
        guidance = None if teacher is None else ask_teacher(points, cast("ImageTeacher", teacher))
        noise = gumbel_noise(centers[..., 0], generator)
        saliency = torch.zeros_like(noise) if guidance is None else guidance.saliency_at(centers)
        masked = draw_masks(saliency, noise, config.masks).masked
        neighbours = [groups.neighbours for groups in scales]
        masks = mask_finer_scales(masked, neighbours, reveals_first_token=config.masks.reveals_first_token)
        with self.autocast():
            found = self.network(scales, masks)
        groups = scales[self._network.scale]
        losses = {"loss_points": weights.points * point_loss(found, groups)}
        if found.features is not None:
            assert guidance is not None  # the recipe has checked it
            losses["loss_features"] = weights.features * feature_loss(found, groups, guidance)
        return losses


class FinetuneModule(PointModule):
    """Trains encoder and classifier together; ``score`` is the accuracy on the validation clouds."""

    def __init__(self, network: PointClassifier, recipe: I2pMaeTraining) -> None:
        """Train `network` in place."""
        super().__init__(network, recipe)

    def training_step(self, batch: CloudBatch, batch_idx: int) -> Tensor:
        """Return the cross entropy."""
        smoothing = self.recipe.network.classification.label_smoothing
        return self.keep_figures({"loss_class": classification_loss(self._logits(batch), batch.labels, smoothing)})

    def validation_step(self, batch: CloudBatch, batch_idx: int) -> None:
        """Note loss and right answers."""
        logits = self._logits(batch)
        right = (logits.argmax(1) == batch.labels).float().mean()
        loss = classification_loss(logits, batch.labels, 0.0)
        self.add_up({"loss_class": loss, "accuracy": right, "score": right}, len(batch.labels))

    def _logits(self, batch: CloudBatch) -> Tensor:
        with self.autocast():
            logits: Tensor = self.network(group_scales(batch.points, self.recipe.network.tokens))
        return logits.float()


def nearest_is_alike(features: Tensor, labels: Tensor) -> float:
    """Return the share of rows (N, C) whose nearest other one by angle, means removed, has the same label (N,)."""
    centred = F.normalize(features - features.mean(0), dim=1)
    likeness = (centred @ centred.T).fill_diagonal_(-torch.inf)
    return float((labels[likeness.argmax(1)] == labels).float().mean())
