"""Rendered streets: scenes made from parameters, drawn with OpenGL, written in the layout of `datasets.frames`."""
