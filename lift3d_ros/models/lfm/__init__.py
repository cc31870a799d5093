"""Lifting of skeletons: 2D points of any object with their graph in, a 3D shape out."""
