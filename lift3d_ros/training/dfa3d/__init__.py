"""Training of the BEV detector."""
