"""Trained weights: the manifest, loading and verification."""
