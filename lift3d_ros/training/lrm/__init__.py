"""Training of the object reconstructor on pictures, shapes or both."""
