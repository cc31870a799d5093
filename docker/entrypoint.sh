#!/bin/bash
# Runs a command with ROS 2 and this package sourced.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/lift3d/setup.bash
exec "$@"
