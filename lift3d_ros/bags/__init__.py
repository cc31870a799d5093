"""Recordings: reading, finding the streams in them, writing."""
