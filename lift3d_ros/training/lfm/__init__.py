"""Training of the skeleton lifter: sets of 3D points seen by random cameras, changed skeletons, losses."""
