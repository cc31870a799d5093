"""Weather at random keeps to what its kind promises."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.simulation.weather import KINDS, Kind, random_weather, street_lamp, vehicle_lamps


def draws(kind: Kind) -> list:
    return [random_weather(np.random.default_rng(seed), (kind,)) for seed in range(40)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_what_was_asked_for(kind: Kind) -> None:
    assert {weather.kind for weather in draws(kind)} == {kind}
    assert len({weather.lighting for weather in draws(kind)}) == 40


def test_the_same_seed_gives_the_same_weather() -> None:
    assert random_weather(np.random.default_rng(3)) == random_weather(np.random.default_rng(3))


def test_all_kinds_come() -> None:
    assert {random_weather(np.random.default_rng(seed)).kind for seed in range(60)} == set(KINDS)


def test_night_has_lamps_and_no_sun() -> None:
    for weather in draws("night"):
        assert weather.has_headlights
        assert not weather.lighting.has_shadows
        assert weather.gain > 3
        assert max(weather.lighting.ambient_sky) < 0.1


def test_rain_falls_on_wet_ground_under_a_grey_sky() -> None:
    for weather in draws("rain"):
        assert weather.rain > 0
        assert weather.lighting.wetness > 0.5
        assert weather.lighting.clouds == 1.0


def test_dusk_has_a_low_sun_and_fog_hides_what_is_far() -> None:
    assert all(0.0 < weather.lighting.sun_elevation < 0.25 for weather in draws("dusk"))
    assert all(np.exp(-100 * weather.lighting.fog) < 0.35 for weather in draws("fog"))


def test_headlights_shine_forward_from_the_front_of_the_box_and_tail_lights_back() -> None:
    lamps = vehicle_lamps(np.array([4.4, 1.8, 1.5]), np.array([0.3, 0.0, 0.75]))
    front = [lamp for lamp in lamps if lamp.direction[0] > 0]
    rear = [lamp for lamp in lamps if lamp.direction[0] < 0]
    assert len(front) == len(rear) == 2
    assert all(abs(lamp.position[0] - 2.5) < 0.1 for lamp in front)
    assert all(abs(lamp.position[0] + 1.9) < 0.1 and lamp.color[0] > 5 * lamp.color[1] for lamp in rear)
    single = vehicle_lamps(np.array([2.1, 0.8, 1.5]), np.array([0.0, 0.0, 0.75]), is_single=True)
    assert len(single) == 2
    assert all(lamp.position[1] == 0 for lamp in single)
    assert street_lamp((0, 0, 6)).direction == (0.0, 0.0, -1.0)
