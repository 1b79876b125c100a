"""Findings of the family gradient."""
