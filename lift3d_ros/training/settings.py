"""How a training run goes, whatever is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import setting


@dataclass(frozen=True)
class RunSettings:
    """Length, optimiser and bookkeeping of a run; a step is one update of the weights."""

    seed: int = setting(0, "makes order, augmentation and dropout repeatable", minimum=0)
    max_steps: int = setting(0, "steps of the whole run; 0: max_minutes decides", minimum=0)
    max_minutes: float = setting(
        0.0, "training time of the whole run, over all slices; 0: max_steps decides", minimum=0
    )
    slice_minutes: float = setting(0.0, "stop after so much time with a checkpoint; 0: never", unit="min", minimum=0)
    batch_size: int = setting(2, "samples of each process and backward pass", minimum=1, maximum=1024)
    accumulation: int = setting(1, "backward passes for each step", minimum=1, maximum=1024)
    learning_rate: float = setting(2e-4, "highest learning rate", minimum=0.0, maximum=1.0)
    weight_decay: float = setting(0.01, "of AdamW", minimum=0.0, maximum=1.0)
    warmup_steps: int = setting(100, "steps over which the learning rate rises from a third", minimum=0)
    final_rate: float = setting(1e-3, "learning rate at the end of the cosine, as a share of the highest", minimum=0)
    clip: float = setting(35.0, "largest norm of the gradient; 0: not limited", minimum=0.0)
    ema_decay: float = setting(0.999, "of the averaged weights, used for validation and export", minimum=0, maximum=1)
    precision: Literal["float32", "bfloat16"] = setting("float32", "type of the picture part; coordinates are float32")
    has_gradient_checkpoints: bool = setting(False, "compute the backbone twice and keep less of it in memory")
    log_interval: int = setting(10, "steps between rows of the loss file", minimum=1)
    validation_interval: int = setting(500, "steps between validations; 0: none", minimum=0)
    checkpoint_interval: int = setting(200, "steps between checkpoints", minimum=1)
    has_split_checkpoint: bool = setting(False, "write checkpoints in pieces of at most 15 MB")
    device: str = setting("auto", "auto, cpu or cuda; with torchrun each process takes one GPU")
    workers: int = setting(2, "processes that prepare data that is not packed", minimum=0, maximum=256)
    has_synchronised_norms: bool = setting(False, "several GPUs: batch norms see the pictures of all of them")


# What may differ when a run goes on: where and how long it runs, not what it computes.
FREE_TO_CHANGE = frozenset(
    {
        "max_steps",
        "max_minutes",
        "slice_minutes",
        "log_interval",
        "validation_interval",
        "checkpoint_interval",
        "has_split_checkpoint",
        "device",
        "workers",
        "has_gradient_checkpoints",
    }
)
