"""BEV detection from surround cameras with depth-aware deformable attention (BEVFormer + DFA3D)."""
