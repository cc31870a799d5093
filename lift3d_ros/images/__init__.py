"""Pictures: decoding, rectifying, resizing and cropping."""
