"""Variants of the lifter differ in what they name and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from lift3d_ros.errors import ConfigError
from lift3d_ros.training.lfm.variants import BASE, VARIANTS, variant_recipe
from lift3d_ros.training.variants import Variant, find_variant

RECIPE = Path(__file__).resolve().parents[3] / "config" / "training" / "lfm_comparison.yaml"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_replaces_only_what_it_names(variant: Variant) -> None:
    base = variant_recipe(RECIPE, find_variant(BASE, VARIANTS), (), 3)
    other = variant_recipe(RECIPE, variant, (), 3)
    differing = {name for name in base.facts if base.facts[name] != other.facts[name]}
    assert differing == {change.partition("=")[0] for change in variant.changes}
    assert other.run == base.run


def test_a_length_in_minutes_is_refused() -> None:
    with pytest.raises(ConfigError, match="after equally many samples"):
        variant_recipe(RECIPE, find_variant(BASE, VARIANTS), ("run.max_minutes=5",), 0)
