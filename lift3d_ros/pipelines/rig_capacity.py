"""How much room an exported graph needs for the cells that the cameras of a rig file see."""

from __future__ import annotations

import numpy as np

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.project import image_from_base
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import PairCapacity, capacity_for, find_visible_pairs
from lift3d_ros.pipelines.box_decoding import base_from_model


def rig_capacity(rig: Rig, facts: Dfa3dConfig) -> PairCapacity:
    """Return room for the pairs of camera and cell of a rig, with headroom for other mountings and ego motion.

    Raises:
        ConfigError: the rig file leaves out calibration or mounting of a camera.
    """
    preprocessor = ImagePreprocessor(InputSpec(facts.image_width, facts.image_height))
    projections = []
    for name, camera in rig.cameras.items():
        model, T_base_cam = camera.model(name), camera.T_base_cam
        if model is None or T_base_cam is None:
            missing = "calibration" if model is None else "mounting"
            raise ConfigError(
                f"camera '{name}': the rig file has no {missing}; expected calibration and mounting of every camera "
                "to export for this rig. Add it, or export with --cameras alone"
            )
        intrinsics = facts.scaling_matrix @ preprocessor.intrinsics_for(model)
        matrix = image_from_base(intrinsics, np.linalg.inv(T_base_cam)) @ base_from_model(facts)
        projections.append(matrix.astype(np.float32))
    return capacity_for(find_visible_pairs(np.stack(projections), facts))
