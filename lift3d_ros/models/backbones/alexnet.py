"""The convolutions of AlexNet, whose features LPIPS compares; names of weights are those of torchvision.

Source: "One weird trick for parallelizing convolutional neural networks" (arXiv 1404.5997), one tower.
"""

from __future__ import annotations

from torch import Tensor, nn

# Channels, kernel, stride, padding, and whether pooling comes before.
_LAYERS = (
    (64, 11, 4, 2, False),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
)
CHANNELS = tuple(layer[0] for layer in _LAYERS)


class AlexNet(nn.Module):
    """Features behind each of the five rectified convolutions."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, kernel, stride, padding, is_pooled in _LAYERS:
            if is_pooled:
                layers.append(nn.MaxPool2d(3, 2))
            layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map normalised pictures (N, 3, H, W), 31 px or more along both sides, to five maps, finest first."""
        maps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps
