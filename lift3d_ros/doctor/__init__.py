"""Checks of a machine, a recording or a running system, each with a remedy. No ROS is imported here."""
