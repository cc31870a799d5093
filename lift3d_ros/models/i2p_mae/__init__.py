"""I2P-MAE: point features by masked autoencoding with a 2D teacher; Point-M2AE is the same without one."""
