"""Too little memory is told beforehand or with a remedy, not by the end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dfa3d_recipe import RECIPE, small_recipe
from painted_street import painted_pack

from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.training.dfa3d import samples
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.settings import load_recipe
from lift3d_ros.training.dfa3d.train import train
from lift3d_ros.training.memory import available_bytes


def test_the_smaller_of_machine_and_control_group_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  16000 kB\nMemAvailable:   8000 kB\n")
    assert available_bytes(meminfo, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert available_bytes(meminfo, tmp_path) == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 8000 * 1024
    assert available_bytes(tmp_path / "absent", tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("grows", "message"),
    [
        (True, r"data.memory_gb keeps 40.0 GB for a pack that grows, this machine has 0.0 GB.*data.follows=false"),
        (False, r"16 pictures need 0.0 GB, this machine has 0.0 GB of memory left; train on fewer scenes"),
    ],
)
def test_the_recipe_for_a_gpu_says_what_to_change_on_a_small_machine(
    grows: bool, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = PackReader(painted_pack(tmp_path / "pack"))
    monkeypatch.setattr(samples, "available_bytes", lambda: 100_000)
    recipe = load_recipe(RECIPE.with_name("dfa3d_gpu.yaml"))
    assert recipe.data.follows
    with pytest.raises(DatasetError, match=message):
        PackedFrames([reader], recipe.data.memory_gb, torch.device("cpu"), grows=grows, is_quiet=True)


def test_a_batch_that_is_too_large_names_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Dfa3dModule, "training_step", full)
    with pytest.raises(Lift3dError, match=r"step 1.*batch of 2.*run.batch_size=1 run.accumulation=2.*gradient_check"):
        train(small_recipe(), [painted_pack(tmp_path / "pack", 1)], [], tmp_path / "out", is_quiet=True)
