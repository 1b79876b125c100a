"""Findings of the family activation."""
