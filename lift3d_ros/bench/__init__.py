"""Measurements: time, memory and accuracy of operators and models, with a description of the machine."""
