"""The skeleton lifter in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.models.lfm.network import LfmNetwork, LfmOutput
from lift3d_ros.training.lfm.batches import LiftingBatch
from lift3d_ros.training.lfm.loss import lifting_losses
from lift3d_ros.training.lfm.settings import LfmTraining
from lift3d_ros.training.lfm.validation import Validation
from lift3d_ros.training.muon import MuonAdamW
from lift3d_ros.training.run import TrainedModule

Step = tuple[LiftingBatch, ...]


class LfmModule(TrainedModule):
    """Trains a network by a recipe."""

    def __init__(self, network: LfmNetwork, recipe: LfmTraining, validated: Sequence[KeypointSet]) -> None:
        """Train `network` in place, with figures on `validated`."""
        super().__init__()
        self.network: LfmNetwork = network
        self.recipe = recipe
        self.figures: Mapping[str, Tensor] = {}
        self._validation = Validation(validated)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Muon for the matrices of the blocks, AdamW for all else."""
        run, loss = self.recipe.run, self.recipe.loss
        matrices = [p for p in self.network.blocks.parameters() if p.ndim == 2 and loss.optimizer == "muon"]
        known = {id(p) for p in matrices}
        rest = [p for p in self.network.parameters() if id(p) not in known]
        decayed, plain = [p for p in rest if p.ndim == 2], [p for p in rest if p.ndim != 2]
        parts = (
            (matrices, loss.muon_rate, True, run.weight_decay),
            (decayed, run.learning_rate, False, run.weight_decay),
        )
        groups = [
            {"params": parameters, "lr": rate, "initial_lr": rate, "is_muon": is_muon, "weight_decay": decay}
            for parameters, rate, is_muon, decay in (*parts, (plain, run.learning_rate, False, 0.0))
            if parameters
        ]
        return MuonAdamW(groups, is_short=run.precision == "bfloat16")

    def training_step(self, batch: Step, batch_idx: int) -> Tensor:
        """Return the sum of all losses, each set with the same weight for each point."""
        total = sum(float(part.exists.shape[0] * part.exists.shape[1]) for part in batch)
        sums: dict[str, Tensor] = {}
        for part in batch:
            share = part.exists.shape[0] * part.exists.shape[1] / total
            for name, value in lifting_losses(self._lift(part), part, self.recipe.loss).items():
                sums[name] = sums[name] + share * value if name in sums else share * value
        self.figures = {name: value.detach() for name, value in sums.items()}
        return torch.stack(list(sums.values())).sum()

    def validation_step(self, batch: Step, batch_idx: int) -> None:
        """Note errors."""
        for part in batch:
            self._validation.add(self._lift(part), part)

    def validation_figures(self) -> dict[str, float]:
        """Return PA-MPJPE over the flat guess: medians of groups and of all sets."""
        return self._validation.figures()

    def bad_batch(self, batch: Step) -> Mapping[str, Tensor]:
        """Return all tensors of a batch, dotted name -> tensor."""
        return {
            f"{number}.{name}": tensor for number, part in enumerate(batch) for name, tensor in part._asdict().items()
        }

    def _lift(self, batch: LiftingBatch) -> LfmOutput:
        is_short = self.recipe.run.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_short):
            lifted: Any = self.network(batch.points, batch.exists, batch.is_visible, batch.side, batch.adjacency)
        return LfmOutput(*(part.float() for part in lifted))


def build_network(recipe: LfmTraining) -> LfmNetwork:
    """Return a network with the random weights of the recipe's seed."""
    torch.manual_seed(recipe.run.seed)
    network = LfmNetwork(recipe.network)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
