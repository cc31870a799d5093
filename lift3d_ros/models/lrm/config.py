"""Facts of a model that turns one picture of an object into a radiance field; imports no torch.

The families of published models share all parts and differ in nearly every detail; each difference is a field here.
Object frame: z up, the object inside of a cube about the origin. Cameras are in the optical frame (z forward).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import group
from lift3d_ros.models.backbones.vit_config import VitConfig, dino_base, dinov2

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

CAMERA_NUMBERS = 16
"""Numbers of the vector that tells a model its camera: pose of 3x4 row by row, then focal lengths and centre."""


@dataclass(frozen=True)
class ObjectImageConfig:
    """How a cut-out object becomes the picture that enters the network.

    Args:
        side: of the square picture, px.
        background: grey level 0..1 behind the object: 1 for OpenLRM, 0.5 for TripoSR.
        fill: share of the picture's side that the longer side of the object takes.
        framing: ``padded`` keeps the pixels of the object and surrounds them (TripoSR); ``recentred`` first scales the
            object into a canvas of `canvas` px by averaging areas (OpenLRM).
        resizing: ``antialiased_linear`` (TripoSR), or ``cubic_corners`` (OpenLRM): cubic without antialiasing, the
            centres of the corner pixels keep their places.
        mean, std: the encoder's normalisation of values 0..1; OpenLRM 1.1 feeds them as they are.
    """

    side: int = 224
    background: float = 1.0
    fill: float = 0.85
    framing: Literal["padded", "recentred"] = "padded"
    canvas: int = 512
    resizing: Literal["antialiased_linear", "cubic_corners"] = "antialiased_linear"
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD


@dataclass(frozen=True)
class ViewConfig:
    """The camera that a model assumes the picture to be taken with, and that its fields are shown from.

    Args:
        azimuth_deg: where the camera stands, from +x towards +y: -90 for OpenLRM, 0 for TripoSR.
        distance: from the origin, in units of the object frame.
        focal: focal length in units of the picture's side; 0.75 is a field of view of 67.4 degrees.
    """

    azimuth_deg: float = -90.0
    distance: float = 2.0
    focal: float = 0.75


@dataclass(frozen=True)
class TokenDecoderConfig:
    """The transformer that turns learned triplane tokens into planes while it looks at the picture's tokens.

    Args:
        plane_side: tokens along a side of each of the three planes.
        upsampling: texels along a side of a token, made by one transposed convolution without overlap.
        channels: of the planes.
        norm_eps: of layer norms: 1e-6 in OpenLRM, 1e-5 in TripoSR.
        attends_first_to: ``picture`` and then to the other tokens (OpenLRM), or ``tokens`` (TripoSR).
        activation: of the feed-forward networks: ``gelu`` (OpenLRM), ``geglu`` (TripoSR).
        camera_width: width of the embedded camera that shifts and scales every norm (OpenLRM); 0 for plain norms, of
            models that are not told their camera (TripoSR).
        group_norm_groups: above 0, tokens pass a group norm over channels and all tokens, a projection before and
            one behind the blocks, and a shortcut around everything (TripoSR); 0 ends with a layer norm (OpenLRM).
        fuses_projections: queries, keys and values come from one matrix wherever widths allow it (OpenLRM).
        has_output_bias: of attention; queries, keys and values have none in either family.
        stores_planes: the learned tokens are stored as planes (3, D, side, side), not as rows (1, tokens, D).
        starts_from_picture: tokens of the picture are added to the learned ones where they belong: to the plane that
            faces the camera one by one, to the others as means of rows and columns. Needs a field that is laid out as
            the view, and as many patches as tokens along a side.
        detail_width: above 0, channels of the finest of four levels of convolutions that add what the picture shows to
            the plane that faces the camera.
    """

    width: int = 512
    num_layers: int = 12
    num_heads: int = 8
    plane_side: int = 32
    upsampling: int = 2
    channels: int = 32
    norm_eps: float = 1e-6
    attends_first_to: Literal["picture", "tokens"] = "picture"
    activation: Literal["gelu", "geglu"] = "gelu"
    camera_width: int = 1024
    group_norm_groups: int = 0
    fuses_projections: bool = True
    has_output_bias: bool = False
    stores_planes: bool = False
    starts_from_picture: bool = False
    detail_width: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of all planes."""
        return 3 * self.plane_side**2


@dataclass(frozen=True)
class FieldConfig:
    """The network that reads density and colour of a point from the planes.

    Args:
        half_side: of the cube that the planes span, in units of the object frame.
        plane_axes: for each plane the axes (0 x, 1 y, 2 z) along its columns and its rows; the third plane is (z, y)
            in OpenLRM and (y, z) in TripoSR.
        num_layers: linear layers.
        density: ``softplus`` (OpenLRM) or ``exp`` (TripoSR) of the first output - 1.
        layout: ``object`` lays the planes along the axes of the object frame. ``view`` lays them along right, forward
            and up of the assumed camera, right and up by where its picture shows a point: the plane of both is the
            picture, wherever along a ray a point lies.
        num_octaves: above 0, the network also reads where a point lies on the axes of the planes, and sines and cosines
            of that in so many octaves: with little training it cannot learn places from the planes.
        color_overshoot: colours are stretched by so much beyond 0 and 1, so that black and white can be reached.
        surface_density: density at which the surface is cut; users may lower it for thin parts.
    """

    half_side: float = 1.0
    plane_axes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] = ((0, 1), (0, 2), (2, 1))
    hidden_width: int = 64
    num_layers: int = 4
    activation: Literal["relu", "silu"] = "relu"
    density: Literal["softplus", "exp"] = "softplus"
    layout: Literal["object", "view"] = "object"
    num_octaves: int = 0
    color_overshoot: float = 0.001
    surface_density: float = 3.0


@dataclass(frozen=True)
class RenderConfig:
    """How colour is summed along rays.

    Args:
        num_samples: first samples of a ray, spread evenly.
        num_importance: samples placed after that where the first ones found matter.
        quadrature: ``neighbour_means`` (OpenLRM) averages two neighbouring samples, colour and density before its
            activation, and steps are distances; its n first samples have bins of 1/(n - 1) of the chord, so that the
            last one may leave the cube and count nothing. ``unit_chord`` (TripoSR) takes each sample for itself, at
            the centres of n bins, with steps of 1/n however long the chord is.
        shrinks_cube: rays are cut with a cube smaller by this share.
        shortest_chord: rays that cross less of the cube are taken as missing it, units of the object frame.
    """

    num_samples: int = 48
    num_importance: int = 48
    quadrature: Literal["neighbour_means", "unit_chord"] = "neighbour_means"
    shrinks_cube: float = 0.0
    shortest_chord: float = 0.0


@dataclass(frozen=True)
class LrmConfig:
    """Configuration of :class:`lift3d_ros.models.lrm.network.Lrm`."""

    image: ObjectImageConfig = group(ObjectImageConfig)
    view: ViewConfig = group(ViewConfig)
    encoder: VitConfig = group(VitConfig)
    decoder: TokenDecoderConfig = group(TokenDecoderConfig)
    field: FieldConfig = group(FieldConfig)
    render: RenderConfig = group(RenderConfig)


PRESETS = (
    "lift3d-lrm-tiny",
    "openlrm-small-1.0",
    "openlrm-base-1.0",
    "openlrm-large-1.0",
    "openlrm-small-1.1",
    "openlrm-base-1.1",
    "openlrm-large-1.1",
    "triposr",
)


def preset(name: str) -> LrmConfig | None:
    """Return the configuration called `name`, None where there is none.

    Heads, camera width and picture side of the 1.0 models are not published; the import compares them with what the
    weights file says.

    Source: fact sheet LRM, sections 1 to 8.
    """
    match name:
        case "lift3d-lrm-tiny":
            return _tiny()
        case "openlrm-small-1.0":
            return _openlrm_1_0(224, TokenDecoderConfig(768, 12, 12, channels=32), 96)
        case "openlrm-base-1.0":
            return _openlrm_1_0(336, TokenDecoderConfig(1024, 12, 16, channels=40), 96)
        case "openlrm-large-1.0":
            return _openlrm_1_0(448, TokenDecoderConfig(1024, 16, 16, channels=80), 128)
        case "openlrm-small-1.1":
            small = dinov2(384, 6, has_registers=True)
            return _openlrm_1_1(224, small, TokenDecoderConfig(512, 12, 8, channels=32), 96)
        case "openlrm-base-1.1":
            base = dinov2(768, 12, has_registers=True)
            return _openlrm_1_1(336, base, TokenDecoderConfig(768, 12, 12, channels=48), 96)
        case "openlrm-large-1.1":
            base = dinov2(768, 12, has_registers=True)
            return _openlrm_1_1(448, base, TokenDecoderConfig(1024, 16, 16, channels=80), 128)
        case "triposr":
            return _triposr()
        case _:
            return None


def _tiny() -> LrmConfig:
    """5.4 million weights; small enough to learn on one CPU core, as its planes start from what the picture shows.

    The camera is not told, so that any crop of any camera is accepted. The field of view is that of common photographs.
    """
    return LrmConfig(
        image=ObjectImageConfig(side=128, background=0.5),
        view=ViewConfig(distance=1.8, focal=1.25),
        encoder=VitConfig(192, 4, 3, 16, 8, table_offset=0.0),
        decoder=TokenDecoderConfig(
            192,
            4,
            3,
            plane_side=8,
            upsampling=8,
            channels=24,
            camera_width=0,
            starts_from_picture=True,
            detail_width=32,
        ),
        field=FieldConfig(density="exp", layout="view", num_octaves=4, surface_density=10.0),
        render=RenderConfig(32, 32),
    )


def _openlrm_1_1(side: int, encoder: VitConfig, decoder: TokenDecoderConfig, samples: int) -> LrmConfig:
    image = ObjectImageConfig(side, 1.0, 0.8, "recentred", 512, "cubic_corners", (0.0,) * 3, (1.0,) * 3)
    return LrmConfig(image, ViewConfig(), encoder, decoder, FieldConfig(), RenderConfig(samples // 2, samples // 2))


def _openlrm_1_0(side: int, decoder: TokenDecoderConfig, samples: int) -> LrmConfig:
    later = _openlrm_1_1(side, dino_base(), decoder, samples)
    image = dataclasses.replace(later.image, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    return dataclasses.replace(later, image=image)


def _triposr() -> LrmConfig:
    return LrmConfig(
        image=ObjectImageConfig(512, 0.5, 0.85),
        # A vertical field of view of 40 degrees.
        view=ViewConfig(azimuth_deg=0.0, distance=1.9, focal=1.3737387),
        encoder=dino_base(),
        decoder=TokenDecoderConfig(
            1024,
            16,
            16,
            channels=40,
            norm_eps=1e-5,
            attends_first_to="tokens",
            activation="geglu",
            camera_width=0,
            group_norm_groups=32,
            fuses_projections=False,
            has_output_bias=True,
            stores_planes=True,
        ),
        field=FieldConfig(
            half_side=0.87,
            plane_axes=((0, 1), (0, 2), (1, 2)),
            num_layers=10,
            activation="silu",
            density="exp",
            color_overshoot=0.0,
            surface_density=25.0,
        ),
        render=RenderConfig(128, 0, "unit_chord", shrinks_cube=0.001, shortest_chord=0.01),
    )
