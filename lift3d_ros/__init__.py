"""Lift 2D into 3D on robots: BEV detection, skeleton lifting, object reconstruction, point features."""

__version__ = "0.1.0"
