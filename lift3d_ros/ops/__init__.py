"""Torch mathematics with several implementations behind one function."""
