"""Rotations, rigid transforms, cameras, boxes and the transform tree, in numpy."""
