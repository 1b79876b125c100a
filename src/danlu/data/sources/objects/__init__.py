"""Annotation files of boxes and outlines, by format."""
