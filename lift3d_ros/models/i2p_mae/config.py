"""Facts of a point encoder and its heads: sizes, radii, pooling. They belong to its weights. Imports no torch.

Options named after a habit of the published checkpoints exist because their numbers were made with it; our own models
leave them off. Scales are counted from the finest one. Source: fact sheet I2P-MAE, sections 3 to 11.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import group
from lift3d_ros.errors import ConfigError

Head = Literal["none", "reconstruction", "classification", "part_segmentation"]
Pooling = Literal["max", "mean_plus_max", "all_scales"]


@dataclass(frozen=True)
class TokenConfig:
    """How a cloud becomes groups of points, each of which becomes a token.

    Args:
        num_groups: groups of each scale.
        group_sizes: neighbours of each centre, itself among them; of the second scale on, centres of the scale before.
        skips_near_origin: published habit: points within about 0.0316 of the origin are no centres.
    """

    num_groups: tuple[int, ...] = (512, 256, 64)
    group_sizes: tuple[int, ...] = (16, 8, 8)
    skips_near_origin: bool = False


@dataclass(frozen=True)
class EncoderConfig:
    """The hierarchical encoder.

    Args:
        dims, depths: width and number of blocks of each scale.
        local_radii: a token attends to those nearer than this, in units of the cloud; 0 for all.
        embedding_dims: widths of the layers that embed the points of a group.
        drop_path: highest rate at which the branches of a block are left out in training.
        has_norms: the tokens of each scale leave through a layer norm.
        drops_unused_tokens: published habit of frozen features: tokens that no group of the next scale holds are not
            attended to.
    """

    dims: tuple[int, ...] = (96, 192, 384)
    depths: tuple[int, ...] = (5, 5, 5)
    num_heads: int = 6
    mlp_ratio: int = 4
    local_radii: tuple[float, ...] = (0.0, 0.0, 0.0)
    embedding_dims: tuple[int, int, int] = (128, 256, 512)
    drop_path: float = 0.1
    has_norms: bool = True
    drops_unused_tokens: bool = False


@dataclass(frozen=True)
class MaskConfig:
    """Which tokens of the coarsest scale are hidden in pre-training.

    Args:
        ratio: share of hidden tokens, rounded down to whole ones.
        guidance: ``random``, or ``saliency`` of the 2D teacher: what stands out stays visible more often.
        normalises_saliency: divide saliency by its mean over the tokens, so that the guidance has an effect; published
            masks are drawn from the raw values, which makes them nearly uniform.
        temperature: saliency is divided by it.
        reveals_first_token: published habit: the first token of the first cloud of a batch is visible at every scale
            but the coarsest.
    """

    ratio: float = 0.8
    guidance: Literal["random", "saliency"] = "saliency"
    normalises_saliency: bool = True
    temperature: float = 1.0
    reveals_first_token: bool = False


@dataclass(frozen=True)
class ReconstructionConfig:
    """The decoder of pre-training, coarsest scale first.

    Args:
        dims, depths: width and number of blocks of each decoder stage; stage 0 is the coarsest scale.
        residual_blocks: residual blocks between two stages.
        num_points: points that are predicted for each hidden group.
        teacher_dims: channels of the 2D teacher's features, 0 without semantic head.
    """

    dims: tuple[int, ...] = (384, 192)
    depths: tuple[int, ...] = (1, 1)
    residual_blocks: int = 1
    num_points: int = 8
    teacher_dims: int = 512


@dataclass(frozen=True)
class TeacherConfig:
    """A small 2D teacher of our own, a transformer on depth maps of 224 px.

    Args:
        patch_size: px; 28 gives maps of 8 x 8, at a third of the work of the usual 16.
        out_dims: channels of its features.
        channels: of its pictures that it looks at; all three show the same depth map, so the first one is enough.
    """

    patch_size: int = 28
    dims: int = 96
    num_layers: int = 4
    num_heads: int = 4
    out_dims: int = 64
    channels: int = 3

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        if self.patch_size < 1 or 224 % self.patch_size:
            raise ConfigError(f"'teacher.patch_size' is {self.patch_size}; expected a divisor of 224, as 16 or 28")
        for name in ("num_layers", "out_dims"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'teacher.{name}' is {getattr(self, name)}; expected 1 and above")
        if self.channels not in (1, 3):
            raise ConfigError(f"'teacher.channels' is {self.channels}; expected 3, or 1")
        if self.num_heads < 1 or self.dims < 1 or self.dims % self.num_heads:
            raise ConfigError(
                f"'teacher.dims' is {self.dims}; expected a multiple of 'teacher.num_heads' ({self.num_heads})"
            )


@dataclass(frozen=True)
class ClassificationConfig:
    """The classifier on the coarsest tokens.

    Args:
        pooling: how mean and maximum over the tokens are brought together.
        label_smoothing: probability that the loss gives to the wrong classes together.
    """

    num_classes: int = 40
    pooling: Literal["sum", "concat"] = "sum"
    hidden_dims: int = 256
    dropout: float = 0.5
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class SegmentationConfig:
    """The part segmentation of each point.

    Args:
        num_categories: kinds of objects, one of which is known for each cloud.
        propagation_dims: widths of the layers that bring the tokens of a scale to the points.
    """

    num_parts: int = 50
    num_categories: int = 16
    category_dims: int = 64
    propagation_dims: tuple[int, int] = (1536, 1024)
    hidden_dims: tuple[int, int, int] = (1024, 512, 256)
    dropout: float = 0.5


# Facts that a network cannot be built with, or not be trained with, beyond these; of tuples, each of their values.
_MOST = 1_000_000
_RANGES: Mapping[str, tuple[float, float]] = {
    "num_points": (1, _MOST),
    "tokens.num_groups": (1, _MOST),
    "tokens.group_sizes": (1, _MOST),
    "encoder.depths": (0, 1000),
    "encoder.num_heads": (1, 1000),
    "encoder.mlp_ratio": (1, 1000),
    "encoder.local_radii": (0, 1e6),
    "encoder.embedding_dims": (1, _MOST),
    "encoder.drop_path": (0, 0.99),
    "masks.ratio": (0, 1),
    "masks.temperature": (1e-6, 1e6),
    "reconstruction.depths": (0, 1000),
    "reconstruction.residual_blocks": (0, 1000),
    "reconstruction.num_points": (1, _MOST),
    "reconstruction.teacher_dims": (0, _MOST),
    "classification.num_classes": (1, _MOST),
    "classification.hidden_dims": (1, _MOST),
    "classification.dropout": (0, 0.99),
    "classification.label_smoothing": (0, 0.99),
    "segmentation.num_parts": (1, _MOST),
    "segmentation.num_categories": (1, _MOST),
    "segmentation.category_dims": (1, _MOST),
    "segmentation.propagation_dims": (1, _MOST),
    "segmentation.hidden_dims": (1, _MOST),
    "segmentation.dropout": (0, 0.99),
}


@dataclass(frozen=True)
class I2pMaeConfig:
    """Configuration of the networks of :mod:`lift3d_ros.models.i2p_mae.build`.

    Args:
        head: what stands on the encoder; the groups of the others do not matter then.
        num_points: points that a cloud is brought to before it enters.
        fills_gaps: a cloud of fewer points gets more of them halfway between neighbours; else its own come again in
            turns, as in published figures.
        pooling: descriptor of a cloud: maximum over its coarsest tokens, mean plus maximum of them, or means and maxima
            of the tokens of every scale one after the other, finest first.
    """

    head: Head = "none"
    num_points: int = 2048
    fills_gaps: bool = False
    pooling: Pooling = "max"
    tokens: TokenConfig = group(TokenConfig)
    encoder: EncoderConfig = group(EncoderConfig)
    masks: MaskConfig = group(MaskConfig)
    reconstruction: ReconstructionConfig = group(ReconstructionConfig)
    classification: ClassificationConfig = group(ClassificationConfig)
    segmentation: SegmentationConfig = group(SegmentationConfig)

    def __post_init__(self) -> None:
        """Refuse values out of range, and sizes that do not fit together."""
        for name, (lowest, highest) in _RANGES.items():
            found = operator.attrgetter(name)(self)
            for value in found if isinstance(found, tuple) else (found,):
                if not lowest <= value <= highest:
                    raise ConfigError(f"'{name}' is {value}; expected {lowest} to {highest}")
        sizes = {
            "tokens.num_groups": len(self.tokens.num_groups),
            "tokens.group_sizes": len(self.tokens.group_sizes),
            "encoder.depths": len(self.encoder.depths),
            "encoder.local_radii": len(self.encoder.local_radii),
        }
        scales = len(self.encoder.dims)
        for name, count in sizes.items():
            if count != scales:
                raise ConfigError(f"'{name}' has {count} values; expected {scales}, one for each of 'encoder.dims'")
        dims = self.encoder.dims + (self.reconstruction.dims if self.head == "reconstruction" else ())
        for width in dims:
            if width < 1 or width % self.encoder.num_heads:
                raise ConfigError(
                    f"'encoder.dims' or 'reconstruction.dims' has the width {width}; expected a multiple of "
                    f"'encoder.num_heads' ({self.encoder.num_heads}); change one of them"
                )
        if self.head == "reconstruction":
            self._check_decoder()

    @property
    def descriptor_dims(self) -> int:
        """How many numbers describe a cloud."""
        return 2 * sum(self.encoder.dims) if self.pooling == "all_scales" else self.encoder.dims[-1]

    def _check_decoder(self) -> None:
        stages, scales = len(self.reconstruction.dims), len(self.encoder.dims)
        if len(self.reconstruction.depths) != stages or not 1 <= stages <= scales:
            raise ConfigError(
                f"'reconstruction.dims' has {stages} values and 'reconstruction.depths' "
                f"{len(self.reconstruction.depths)}; expected equally many, at most {scales}"
            )
        if self.reconstruction.dims[0] != self.encoder.dims[-1]:
            raise ConfigError(
                f"'reconstruction.dims' begins with {self.reconstruction.dims[0]}; expected the width of the coarsest "
                f"tokens, {self.encoder.dims[-1]}"
            )


PRESETS = (
    "lift3d-points-small",
    "lift3d-points-small-pretrain",
    "i2p-mae",
    "i2p-mae-pretrain",
    "i2p-mae-modelnet40",
    "i2p-mae-scanobjectnn",
    "i2p-mae-scanobjectnn-hardest",
    "point-m2ae",
    "point-m2ae-pretrain",
    "point-m2ae-modelnet40",
    "point-m2ae-scanobjectnn",
    "point-m2ae-shapenetpart",
)


TEACHER_PRESETS = {"lift3d-depth-teacher": TeacherConfig(channels=1)}


def preset(name: str) -> I2pMaeConfig | None:
    """Return the configuration called `name`, None where there is none; ``-hardest`` is the split PB-T50-RS."""
    if name.startswith("lift3d-points-small"):
        return _own_presets().get(name)
    return _published_presets().get(name)


def _own_presets() -> dict[str, I2pMaeConfig]:
    encoder = EncoderConfig(dims=(64, 128, 384), depths=(3, 3, 3), num_heads=4, embedding_dims=(32, 64, 128))
    decoder = ReconstructionConfig(dims=(384, 128), teacher_dims=64)
    tokens = TokenConfig((256, 128, 32), (16, 8, 8))
    small = I2pMaeConfig(num_points=1024, fills_gaps=True, pooling="all_scales", tokens=tokens, encoder=encoder)
    pretrain = dataclasses.replace(small, head="reconstruction", reconstruction=decoder)
    return {"lift3d-points-small": small, "lift3d-points-small-pretrain": pretrain}


def _published_presets() -> dict[str, I2pMaeConfig]:
    indoor_radii = (0.32, 0.64, 1.28)
    masks = MaskConfig(normalises_saliency=False, reveals_first_token=True)
    frozen = I2pMaeConfig(
        tokens=TokenConfig(skips_near_origin=True), encoder=EncoderConfig(drops_unused_tokens=True), masks=masks
    )
    pretrain = dataclasses.replace(frozen, head="reconstruction")
    modelnet = ClassificationConfig(40, "sum", label_smoothing=0.2)
    of_modelnet = _classifier((48, 24, 24), (0.24, 0.48, 0.96), modelnet, 1024)
    scanobject = ClassificationConfig(15, "concat")
    of_scanobject = _classifier((32, 16, 16), indoor_radii, scanobject, 2048)
    frozen_m2ae = dataclasses.replace(frozen, pooling="mean_plus_max")
    return {
        "i2p-mae": frozen,
        "i2p-mae-pretrain": pretrain,
        "i2p-mae-modelnet40": of_modelnet,
        "i2p-mae-scanobjectnn": of_scanobject,
        "i2p-mae-scanobjectnn-hardest": _classifier((32, 16, 16), (0.48, 0.96, 1.92), scanobject, 2048),
        "point-m2ae": frozen_m2ae,
        # The radii of its recipe have no effect on visible tokens (fact sheet, section 15.7).
        "point-m2ae-pretrain": dataclasses.replace(
            frozen_m2ae,
            head="reconstruction",
            masks=dataclasses.replace(masks, guidance="random"),
            reconstruction=ReconstructionConfig(num_points=16, teacher_dims=0),
        ),
        "point-m2ae-modelnet40": _classifier(
            (16, 8, 8), indoor_radii, dataclasses.replace(modelnet, label_smoothing=0.3), 1024
        ),
        "point-m2ae-scanobjectnn": of_scanobject,
        "point-m2ae-shapenetpart": I2pMaeConfig(
            head="part_segmentation",
            tokens=TokenConfig(skips_near_origin=True),
            encoder=EncoderConfig(local_radii=indoor_radii),
        ),
    }


def _classifier(
    group_sizes: tuple[int, ...], radii: tuple[float, ...], head: ClassificationConfig, num_points: int
) -> I2pMaeConfig:
    return I2pMaeConfig(
        head="classification",
        num_points=num_points,
        tokens=TokenConfig(group_sizes=group_sizes, skips_near_origin=True),
        encoder=EncoderConfig(local_radii=radii, has_norms=False),
        classification=head,
    )
