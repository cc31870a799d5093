"""Compares the weights of a published checkpoint with the network that they are meant for, by name and shape."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lift3d_ros.config import flat_facts
from lift3d_ros.errors import WeightsError, nearest_name_hint
from lift3d_ros.models.dfa3d import config as dfa3d_config
from lift3d_ros.models.dfa3d import published_keys as dfa3d_keys
from lift3d_ros.models.i2p_mae import config as point_config
from lift3d_ros.models.i2p_mae import published_keys as point_keys
from lift3d_ros.models.lfm import config as lfm_config
from lift3d_ros.models.lrm import config as lrm_config
from lift3d_ros.models.lrm import published_keys as lrm_keys
from lift3d_ros.weights.checkpoint import shown

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]

_DFA3D_LICENCE = "IDEA License 1.0, non-commercial research only; trained on nuScenes, non-commercial"
_BEVFORMER_LICENCE = "Apache-2.0 as code; weights trained on nuScenes, non-commercial"
_POINT_LICENCE = "none stated by who published them; trained on ShapeNet and the named data set, research only"
_OPENLRM_LICENCE = "CC BY-NC 4.0, non-commercial"
# Configurations whose weights others published, with the licence of those weights (fact sheets DFA3D and I2P-MAE,
# section 1, and LRM, section 12).
PUBLISHED_LICENCES: Mapping[str, str] = {
    "dfa3d-small": _DFA3D_LICENCE,
    "dfa3d-base": _DFA3D_LICENCE,
    "dfa3d-base-gtdepth": _DFA3D_LICENCE,
    "bevformer-tiny": _BEVFORMER_LICENCE,
    "bevformer-small": _BEVFORMER_LICENCE,
    "bevformer-base": _BEVFORMER_LICENCE,
    **{name: _POINT_LICENCE for name in point_config.PRESETS if not name.startswith("lift3d-")},
    **{name: "MIT" if layout == "triposr" else _OPENLRM_LICENCE for name, layout in lrm_keys.LAYOUTS.items()},
}
# Method of every configuration that a network can be made of.
METHODS: Mapping[str, str] = {
    **dict.fromkeys(dfa3d_config.PRESETS, "dfa3d"),
    **dict.fromkeys(point_config.PRESETS, "i2p_mae"),
    **dict.fromkeys(point_config.TEACHER_PRESETS, "i2p_mae_teacher"),
    **dict.fromkeys(lfm_config.PRESETS, "lfm"),
    **dict.fromkeys(lrm_config.PRESETS, "lrm"),
}
_LISTED = 6


@dataclass(frozen=True)
class StateReport:
    """How the weights of a checkpoint fit a network; all names are published ones.

    Args:
        matches: our name -> published name, for names that both have with the same shape.
        surplus: weights that are stored but take no part in the network's output.
        wrong_shapes: name, found and expected shape.
        num_expected: weights that the network has.
    """

    matches: Mapping[str, str]
    surplus: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shapes: tuple[tuple[str, Shape, Shape], ...]
    num_expected: int

    @property
    def fits(self) -> bool:
        """Whether every weight has its place and every place its weight."""
        return not (self.missing or self.unexpected or self.wrong_shapes)

    def describe(self) -> str:
        """Return what does not fit in a bounded number of lines."""
        shapes = [name for name, _, _ in self.wrong_shapes]
        lines = [f"{len(self.matches)} of {self.num_expected} weights fit."]
        lines += _listing("missing", self.missing, [shown(name) for name in self.missing])
        lines += _listing("unexpected", self.unexpected, [shown(name) for name in self.unexpected])
        lines += _listing(
            "of another shape",
            shapes,
            [f"{shown(n)}: found {_text(found)}, expected {_text(wanted)}" for n, found, wanted in self.wrong_shapes],
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Names:
    """How the names of a method's checkpoints are read."""

    our_key: Callable[[str], str | None]
    published_key: Callable[[str], str | None]
    is_known_surplus: Callable[[str], bool]


def check_state(found: Mapping[str, Shape], expected: Mapping[str, Shape], *, has_depth_head: bool) -> StateReport:
    """Compare the weights of a checkpoint with those of a BEV detector.

    Args:
        found: published name -> shape.
        expected: our name -> shape.
        has_depth_head: false for the variant that is given measured depth, whose depth head is stored all the same.
    """
    return _compare(found, expected, _dfa3d_names(has_depth_head=has_depth_head))


def check_preset(found: Mapping[str, Shape], preset_name: str) -> StateReport:
    """Compare the weights of a checkpoint with the network of a published configuration.

    Raises:
        WeightsError: there is no such configuration.
    """
    if preset_name not in PUBLISHED_LICENCES:
        raise WeightsError(
            f"'{preset_name}' is not a published configuration{nearest_name_hint(preset_name, PUBLISHED_LICENCES)}; "
            f"known: {', '.join(PUBLISHED_LICENCES)}"
        )
    return _compare(found, network_shapes(preset_name), _names_of(preset_name))


def fitting_presets(found: Mapping[str, Shape]) -> tuple[str, ...]:
    """Return the published configurations that the weights of a checkpoint fit completely."""
    return tuple(name for name in PUBLISHED_LICENCES if _knows_any(name, found) and check_preset(found, name).fits)


def network_shapes(preset_name: str) -> Mapping[str, Shape]:
    """Return the weights of a configuration's network, our name -> shape, without making any.

    Raises:
        WeightsError: there is no such configuration.
    """
    import torch

    if preset_name not in METHODS:
        raise _unknown(preset_name)
    with torch.device("meta"):
        network = _network(preset_name)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def network_facts(preset_name: str) -> Mapping[str, Any]:
    """Return the settings of a configuration's network, dotted name -> plain value.

    Raises:
        WeightsError: there is no such configuration.
    """
    for known in (point_config.preset, point_config.TEACHER_PRESETS.get, lrm_config.preset, lfm_config.preset):
        if (found := known(preset_name)) is not None:
            return flat_facts(dataclasses.asdict(found))
    if (detector := dfa3d_config.preset(preset_name)) is not None:
        return flat_facts(dataclasses.asdict(detector))
    raise _unknown(preset_name)


def _unknown(preset_name: str) -> WeightsError:
    return WeightsError(
        f"preset '{preset_name}' is not known{nearest_name_hint(preset_name, METHODS)}; known: {', '.join(METHODS)}"
    )


def _network(preset_name: str) -> nn.Module:
    from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
    from lift3d_ros.models.i2p_mae.build import build
    from lift3d_ros.models.i2p_mae.teacher import SmallTeacher
    from lift3d_ros.models.lfm.network import LfmNetwork
    from lift3d_ros.models.lrm.network import Lrm

    if (points := point_config.preset(preset_name)) is not None:
        return build(points)
    if (teacher := point_config.TEACHER_PRESETS.get(preset_name)) is not None:
        return SmallTeacher(teacher)
    if (objects := lrm_config.preset(preset_name)) is not None:
        return Lrm(objects)
    if (skeletons := lfm_config.preset(preset_name)) is not None:
        return LfmNetwork(skeletons)
    detector = dfa3d_config.preset(preset_name)
    assert detector is not None
    return Dfa3dDetector(detector)


def _compare(found: Mapping[str, Shape], expected: Mapping[str, Shape], names: _Names) -> StateReport:
    matches: dict[str, str] = {}
    surplus: list[str] = []
    unexpected: list[str] = []
    wrong_shapes: list[tuple[str, Shape, Shape]] = []
    for name, shape in found.items():
        ours = names.our_key(name)
        if names.is_known_surplus(name):
            surplus.append(name)
        elif ours is None or ours not in expected or ours in matches:
            unexpected.append(name)
        else:
            matches[ours] = name
            if tuple(shape) != tuple(expected[ours]):
                wrong_shapes.append((name, tuple(shape), tuple(expected[ours])))
    missing = tuple(names.published_key(ours) or ours for ours in expected if ours not in matches)
    fitting = set(matches.values()) - {name for name, _, _ in wrong_shapes}
    return StateReport(
        {ours: name for ours, name in matches.items() if name in fitting},
        tuple(surplus),
        missing,
        tuple(unexpected),
        tuple(wrong_shapes),
        len(expected),
    )


def _names_of(preset_name: str) -> _Names:
    if (points := point_config.preset(preset_name)) is not None:
        is_surplus = functools.partial(point_keys.is_known_surplus, head=points.head)
        return _Names(point_keys.our_key, point_keys.published_key, is_surplus)
    if preset_name in lrm_keys.LAYOUTS:
        layout = lrm_keys.LAYOUTS[preset_name]
        return _Names(
            functools.partial(lrm_keys.our_key, layout=layout),
            functools.partial(lrm_keys.published_key, layout=layout),
            lrm_keys.is_known_surplus,
        )
    detector = dfa3d_config.preset(preset_name)
    assert detector is not None
    return _dfa3d_names(has_depth_head=detector.depth.source != "lidar")


def _dfa3d_names(*, has_depth_head: bool) -> _Names:
    is_surplus = functools.partial(dfa3d_keys.is_known_surplus, has_depth_head=has_depth_head)
    return _Names(dfa3d_keys.our_key, dfa3d_keys.published_key, is_surplus)


def _knows_any(preset_name: str, found: Mapping[str, Shape]) -> bool:
    """Return whether a name is one of the configuration's at all; networks are not built in vain."""
    names = _names_of(preset_name)
    return any(names.our_key(name) is not None for name in found)


def _listing(what: str, names: Sequence[str], texts: Sequence[str]) -> list[str]:
    if not names:
        return []
    places = Counter(shown(".".join(name.split(".")[:2])) for name in names).most_common()
    where = ", ".join(f"{place} ({count})" for place, count in places[:_LISTED])
    others = "" if len(places) <= _LISTED else f", and {len(places) - _LISTED} more"
    lines = [f"  {what}: {len(names)}, in {where}{others}"]
    lines += [f"    {text}" for text in texts[:_LISTED]]
    if len(texts) > _LISTED:
        lines.append(f"    and {len(texts) - _LISTED} more")
    return lines


def _text(shape: Shape) -> str:
    return shown(list(shape))
