"""Findings of the family numerics."""
