"""Networks only: configuration, modules and initialisation; no files, no ROS, no OpenCV."""
