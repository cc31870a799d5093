"""The `lift3d` command: argument parsing and printing only."""
