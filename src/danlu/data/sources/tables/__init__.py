"""Meaning of columns and values in tables: targets, labels, boxes, outlines and splits."""
