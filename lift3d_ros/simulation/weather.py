"""Light and weather of a scene: sun, sky, air, wet ground, rain, and the lamps that are lit.

Light is linear and relative: a white matte surface in full sun has about 1.5, the same under a closed sky about 0.7.
The night is given as a camera that adapts to it sees it: brighter than it is, with a higher `Weather.gain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from lift3d_ros.types import Float64Array

Kind = Literal["clear", "overcast", "dusk", "night", "rain", "fog"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Light = tuple[float, float, float]
"""Linear RGB."""


@dataclass(frozen=True)
class Lighting:
    """Sun, sky and air.

    Args:
        sun_azimuth, sun_elevation: rad; azimuth about +z of the world, 0 along x.
        sun_color: of direct light; below 0.02 no shadows are drawn.
        zenith, horizon: colours of the clear sky.
        fog: share of light lost per metre.
        clouds: 0 none .. 1 closed.
        cloud: colour of the bright side of clouds.
        fog_color: of what is far away; None for `horizon`.
        ambient_sky, ambient_ground: light that falls on a surface from above and from below.
        wetness: of roads and pavements, 0 dry .. 1 covered by water.
        lamps: strength of all lamps, 0 unlit .. 1 as at night.
        lit_windows: share of windows with light behind them.
    """

    sun_azimuth: float = 2.2
    sun_elevation: float = 0.92
    sun_color: Light = (1.62, 1.50, 1.30)
    zenith: Light = (0.16, 0.33, 0.72)
    horizon: Light = (0.66, 0.77, 0.90)
    fog: float = 0.0022
    clouds: float = 0.45
    cloud: Light = (0.98, 0.98, 0.98)
    fog_color: Light | None = None
    ambient_sky: Light = (0.50, 0.57, 0.68)
    ambient_ground: Light = (0.24, 0.23, 0.21)
    wetness: float = 0.0
    lamps: float = 0.0
    lit_windows: float = 0.0

    @property
    def sun(self) -> Float64Array:
        """Unit vector towards the sun, (3,)."""
        level = np.cos(self.sun_elevation)
        azimuth = self.sun_azimuth
        return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(self.sun_elevation)])

    @property
    def has_shadows(self) -> bool:
        """Whether the sun is strong enough to cast shadows."""
        return max(self.sun_color) >= 0.02


@dataclass(frozen=True)
class Lamp:
    """One lamp of an item, in the frame of its mesh.

    Args:
        position, direction: metres and unit vector; a direction of zero shines to all sides.
        focus: exponent of the cosine to the direction; 0 wide .. 100 a narrow beam.
        power: of its light at one metre, along its direction.
        glare: brightness of the lamp itself where it shines to the camera; 0 is not seen.
        radius: of the lamp itself, metres.
    """

    position: tuple[float, float, float]
    color: Light
    power: float
    direction: tuple[float, float, float] = (0.0, 0.0, 0.0)
    focus: float = 0.0
    glare: float = 4.0
    radius: float = 0.08


@dataclass(frozen=True)
class Weather:
    """What the sky does to a scene and to its pictures.

    Args:
        rain: strength of falling rain, 0 none .. 1 heavy: streaks in the air and drops on the lens.
        gain: amplification of the cameras relative to a bright day; noise grows with it.
    """

    kind: Kind = "clear"
    lighting: Lighting = field(default_factory=Lighting)
    rain: float = 0.0
    gain: float = 1.0

    @property
    def has_headlights(self) -> bool:
        """Whether vehicles drive with their lamps on."""
        return self.lighting.lamps > 0.0


def random_weather(rng: np.random.Generator, kinds: Sequence[Kind] = KINDS) -> Weather:
    """Return weather of one of the kinds, each as likely as the others."""
    kind = kinds[int(rng.integers(len(kinds)))]
    azimuth, u = float(rng.uniform(-np.pi, np.pi)), rng.uniform
    if kind == "clear":
        elevation = float(u(0.38, 1.15))
        warm = float(np.clip((elevation - 0.3) / 0.5, 0.0, 1.0))
        power, haze, deep = float(u(0.9, 1.1)), float(u(0.0, 1.0)), float(u(0.8, 1.15))
        return Weather(kind, Lighting(
            azimuth, elevation, _scaled((1.66, 1.30 + 0.20 * warm, 0.92 + 0.38 * warm), power),
            _scaled((0.16 + 0.08 * haze, 0.33 + 0.06 * haze, 0.72), deep), (0.66, 0.77, 0.90),
            fog=float(u(0.0008, 0.003)), clouds=float(u(0.05, 0.7)),
            ambient_sky=_scaled((0.50, 0.57, 0.68), float(u(0.75, 1.1))),
        ))  # fmt: skip
    if kind == "overcast":
        grey, tint = float(u(0.62, 0.95)), float(u(0.96, 1.08))
        sky = (grey, grey * 1.02, grey * 1.05 * tint)
        return Weather(kind, Lighting(
            azimuth, float(u(0.5, 1.2)), _scaled((0.22, 0.22, 0.21), float(u(0.0, 1.0))), _scaled(sky, 0.85), sky,
            fog=float(u(0.001, 0.005)), clouds=1.0, cloud=sky,
            ambient_sky=_scaled((0.80, 0.84, 0.88), float(u(0.8, 1.1))), ambient_ground=(0.27, 0.27, 0.26),
            wetness=float(u(0.0, 0.6)) if rng.random() < 0.25 else 0.0,
        ), gain=1.3)  # fmt: skip
    if kind == "dusk":
        elevation, red = float(u(0.06, 0.22)), float(u(0.0, 1.0))
        return Weather(kind, Lighting(
            azimuth, elevation, _scaled((1.70, 1.02 - 0.22 * red, 0.56 - 0.26 * red), float(u(0.7, 1.0))),
            _scaled((0.17, 0.25, 0.46), float(u(0.7, 1.1))), (0.86, 0.66 - 0.10 * red, 0.50 - 0.14 * red),
            fog=float(u(0.001, 0.004)), clouds=float(u(0.1, 0.75)), cloud=(0.90, 0.70, 0.60),
            ambient_sky=(0.34, 0.36, 0.45), ambient_ground=(0.19, 0.17, 0.15),
            lamps=float(u(0.15, 0.4)) if rng.random() < 0.7 else 0.0, lit_windows=float(u(0.0, 0.25)),
        ), gain=1.8)  # fmt: skip
    if kind == "night":
        dark, glow = float(u(0.5, 1.3)), float(u(0.6, 1.4))
        is_wet = rng.random() < 0.25
        return Weather(kind, Lighting(
            azimuth, 1.0, (0.0, 0.0, 0.0), _scaled((0.006, 0.008, 0.016), dark),
            _scaled((0.040, 0.030, 0.024), glow), fog=float(u(0.002, 0.006)), clouds=float(u(0.0, 0.8)),
            cloud=_scaled((0.028, 0.024, 0.022), glow), ambient_sky=_scaled((0.034, 0.036, 0.046), dark),
            ambient_ground=_scaled((0.018, 0.016, 0.014), glow), wetness=float(u(0.3, 1.0)) if is_wet else 0.0,
            lamps=1.0, lit_windows=float(u(0.12, 0.45)),
        ), rain=float(u(0.1, 0.6)) if is_wet and rng.random() < 0.5 else 0.0, gain=float(u(4.0, 9.0)))  # fmt: skip
    if kind == "rain":
        grey = float(u(0.34, 0.62))
        sky = (grey * 0.96, grey, grey * 1.05)
        return Weather(kind, Lighting(
            azimuth, 1.1, (0.0, 0.0, 0.0), _scaled(sky, 0.82), sky, fog=float(u(0.004, 0.012)), clouds=1.0, cloud=sky,
            ambient_sky=_scaled((0.92, 0.97, 1.02), grey), ambient_ground=_scaled((0.27, 0.27, 0.28), grey),
            wetness=float(u(0.7, 1.0)), lamps=float(u(0.15, 0.35)), lit_windows=float(u(0.05, 0.2)),
        ), rain=float(u(0.25, 1.0)), gain=float(u(1.6, 2.6)))  # fmt: skip
    grey = float(u(0.55, 0.85))
    air = (grey, grey * 1.01, grey * 1.03)
    return Weather(kind, Lighting(
        azimuth, 0.8, _scaled((0.12, 0.12, 0.11), float(u(0.0, 1.0))), air, air, fog=float(u(0.012, 0.045)), clouds=1.0,
        cloud=air, fog_color=air, ambient_sky=_scaled((0.86, 0.88, 0.92), grey), ambient_ground=(0.25, 0.25, 0.25),
        wetness=float(u(0.1, 0.5)), lamps=float(u(0.15, 0.4)), lit_windows=float(u(0.0, 0.15)),
    ), gain=float(u(1.2, 2.0)))  # fmt: skip


def vehicle_lamps(size: Float64Array, center: Float64Array, *, is_single: bool = False) -> tuple[Lamp, ...]:
    """Return headlights and tail lights of a vehicle with the box `size` (length, width, height) and `center` (3,).

    Args:
        is_single: one of each in the middle, as on a motorcycle.
    """
    (length, width, height), (x, y, z) = np.asarray(size).tolist(), np.asarray(center).tolist()
    sides = (0.0,) if is_single else (-0.36 * width, 0.36 * width)
    low = z - height / 2
    front, rear = low + min(0.68, 0.45 * height), low + min(0.85, 0.55 * height)
    beam = float(np.sin(-0.035))
    head = [
        Lamp((x + length / 2 + 0.02, y + side, front), (1.0, 0.94, 0.82), 70.0, (1.0, 0.0, beam), 50.0, 9.0, 0.075)
        for side in sides
    ]
    tail = [
        Lamp((x - length / 2 - 0.02, y + side, rear), (1.0, 0.06, 0.03), 0.5, (-1.0, 0.0, 0.0), 1.0, 3.5, 0.06)
        for side in sides
    ]
    return (*head, *tail)


def street_lamp(position: tuple[float, float, float], *, is_warm: bool = True) -> Lamp:
    """Return the light of a lamp post whose head is at `position` of the mesh."""
    color = (1.0, 0.66, 0.34) if is_warm else (0.92, 0.96, 1.0)
    return Lamp(position, color, 14.0, (0.0, 0.0, -1.0), 1.2, 7.0, 0.16)


def _scaled(color: Light, factor: float) -> Light:
    return color[0] * factor, color[1] * factor, color[2] * factor
