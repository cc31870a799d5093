"""Which weights made a result, of whatever method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights made a result; `is_trained` is False for random weights, which every output must say."""

    name: str
    weights_sha256: str
    is_trained: bool
    backend: str = ""

    @property
    def description(self) -> str:
        """One phrase for log lines and pictures, for example ``tiny (untrained weights)``."""
        return self.name if self.is_trained else f"{self.name} (untrained weights)"
