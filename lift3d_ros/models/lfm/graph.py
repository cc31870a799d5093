"""What a network may know of a skeleton without names: random walks along its edges, which keep equivariance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_NODE_FEATURES = 9
NUM_PAIR_FEATURES = 5
_LEAST_PROBABILITY = 1e-4


class GraphFeatures(NamedTuple):
    """Features of points and of pairs of points.

    Args:
        links: (B, J, J) edges in both directions and self loops, none to or from padding.
        nodes: (B, J, 9) logarithms of the probability to be back after 2, 3, 4, 6, 8, 11, 14, 16 steps, and degree.
        pairs: (B, J, J, 5) logarithms of the probability to get there in 1, 2, 4, 8, 16 steps.
    """

    links: Tensor
    nodes: Tensor
    pairs: Tensor


def graph_features(adjacency: Tensor, exists: Tensor) -> GraphFeatures:
    """Return features of skeletons, fact sheet 13.4.

    Args:
        adjacency: (B, J, J) bool, one direction of an edge suffices.
        exists: (B, J) bool, false for padding.
    """
    both = exists[:, :, None] & exists[:, None, :]
    # Compared and summed below: TensorRT takes torch.eye and torch.diagonal for fixed sizes only.
    number = torch.arange(adjacency.shape[-1], device=adjacency.device)
    own = number[:, None] == number[None, :]
    links = ((adjacency | adjacency.transpose(1, 2)) & both) | own
    weights = links.float()
    degree = weights.sum(-1, keepdim=True)
    step = weights / degree
    walk2 = step @ step
    walk3, walk4 = walk2 @ step, walk2 @ walk2
    walk6, walk8 = walk3 @ walk3, walk4 @ walk4
    walk16 = walk8 @ walk8
    walks = (walk2, walk3, walk4, walk6, walk8, walk8 @ walk3, walk8 @ walk6, walk16)
    back = torch.stack([(walk * own).sum(-1) for walk in walks], dim=-1)
    # About -1..1 for skeletons of usual size.
    nodes = torch.cat([0.5 * _logarithm(back) + 1.0, 0.5 * (degree - 3.0)], dim=-1)
    pairs = 0.25 * _logarithm(torch.stack((step, walk2, walk4, walk8, walk16), dim=-1)) + 1.0
    return GraphFeatures(links, nodes, pairs)


def _logarithm(probability: Tensor) -> Tensor:
    return torch.log(probability.clamp(min=_LEAST_PROBABILITY))
