"""Training of the point encoder: masked pre-training, its 2D teacher, and classification."""
