"""Training: the run that all methods share, and for each method its data and its losses."""
