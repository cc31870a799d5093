"""The object reconstructor in training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lift3d_ros.models.backbones.feature_maps import FeatureMaps
from lift3d_ros.models.lrm.cameras import view_numbers
from lift3d_ros.models.lrm.network import Lrm, build_lrm
from lift3d_ros.models.lrm.renderer import render_rays
from lift3d_ros.training.lrm.batches import ObjectBatch
from lift3d_ros.training.lrm.loss import object_losses
from lift3d_ros.training.lrm.settings import LrmTraining
from lift3d_ros.training.muon import MuonAdamW
from lift3d_ros.training.run import TrainedModule

_FEW_TOKENS = 512


class LrmModule(TrainedModule):
    """Trains a network by a recipe; ``score`` of a validation is the PSNR of views that the network does not see."""

    def __init__(self, network: Lrm, recipe: LrmTraining, features: FeatureMaps | None = None) -> None:
        """Train `network` in place; `features` compare patches where the recipe asks for it."""
        super().__init__()
        self._features = (features,)  # a tuple, so that it is no part of this module
        self.network: Lrm = network
        self.recipe = recipe
        self.figures: Mapping[str, Tensor] = {}
        self._camera = torch.from_numpy(view_numbers(recipe.network.view)).float()
        self._found: dict[str, list[float]] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Muon for the matrices of the blocks, AdamW for all else."""
        run, loss = self.recipe.run, self.recipe.loss
        blocks = (self.network.encoder.blocks, self.network.decoder.transformer.blocks)
        matrices = [
            parameter
            for part in blocks
            for parameter in part.parameters()
            if parameter.ndim == 2 and loss.optimizer == "muon"
        ]
        known = {id(parameter) for parameter in matrices}
        decayed: list[torch.nn.Parameter] = []
        plain: list[torch.nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            if id(parameter) not in known:
                is_matrix = parameter.ndim > 1 and not name.endswith(("tokens", "token", "table"))
                (decayed if is_matrix else plain).append(parameter)
        parts = (
            (matrices, loss.muon_rate, True, run.weight_decay),
            (decayed, run.learning_rate, False, run.weight_decay),
            (plain, run.learning_rate, False, 0.0),
        )
        groups = [
            {"params": parameters, "lr": rate, "initial_lr": rate, "is_muon": is_muon, "weight_decay": decay}
            for parameters, rate, is_muon, decay in parts
            if parameters
        ]
        return MuonAdamW(groups, is_short=run.precision == "bfloat16")

    def on_fit_start(self) -> None:
        """Bring the network that compares patches to the device."""
        for features in self._features:
            if features is not None:
                features.to(self.device)

    def training_step(self, batch: ObjectBatch, batch_idx: int) -> Tensor:
        """Return the sum of all losses."""
        losses = object_losses(
            self.network.field,
            self._planes(batch),
            batch,
            self.recipe.loss,
            self.recipe.network.render,
            features=self._features[0],
            computes_twice=self.recipe.run.has_gradient_checkpoints,
        )
        self.figures = {name: value.detach() for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: ObjectBatch, batch_idx: int) -> None:
        """Note errors of each object."""
        planes, field = self._planes(batch), self.network.field
        render = self.recipe.network.render
        seen = render_rays(field, planes, batch.origins, batch.directions, render, batch.background)
        error = (seen.color.clamp(0.0, 1.0) - batch.seen[..., :3]).square().mean(dim=(1, 2)).clamp(min=1e-10)
        figures = {"psnr": -10.0 * error.log10(), "mask_error": (seen.weight - batch.seen[..., 3]).abs().mean(dim=1)}
        if batch.points.shape[1]:
            density, color = field.query(planes, batch.points)
            inside, truth = density > field.config.surface_density, batch.is_inside > 0.5
            figures["iou"] = (inside & truth).sum(dim=1) / (inside | truth).sum(dim=1).clamp(min=1)
            far = (color - batch.colors).abs().mean(dim=-1) * batch.is_near
            figures["color_error"] = far.sum(dim=1) / batch.is_near.sum(dim=1).clamp(min=1.0)
        for name, values in figures.items():
            self._found.setdefault(name, []).extend(values.tolist())

    def validation_figures(self) -> dict[str, float]:
        """Return means over the validated objects."""
        figures = {name: sum(values) / len(values) for name, values in self._found.items()}
        self._found = {}
        return figures | ({"score": figures["psnr"]} if figures else {})

    def bad_batch(self, batch: ObjectBatch) -> Mapping[str, Tensor]:
        """Return the tensors of a batch by name."""
        return batch._asdict()

    def _planes(self, batch: ObjectBatch) -> Tensor:
        is_short = self.recipe.run.precision == "bfloat16"
        cameras = self._camera.to(batch.pictures).expand(len(batch.pictures), -1)
        with self._attention(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_short):
            planes: Tensor = self.network(batch.pictures, cameras)
        return planes.float()

    def _attention(self) -> AbstractContextManager[None]:
        """Return the context of the attention: on a CPU, few tokens are faster by plain products, mostly backwards."""
        is_small = self.device.type == "cpu" and self.recipe.network.decoder.num_tokens <= _FEW_TOKENS
        return sdpa_kernel(SDPBackend.MATH) if is_small else nullcontext()


def build_network(recipe: LrmTraining) -> Lrm:
    """Return a network with the random weights of the recipe's seed."""
    return build_lrm(recipe.network, recipe.run.seed).train()
