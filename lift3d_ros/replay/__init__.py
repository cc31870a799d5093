"""Recordings in, results out, through the same pipelines as on the vehicle."""
