"""Masks as images: of single objects, or a class for each pixel."""
