"""Labelled data: readers and writers of folder layouts."""
