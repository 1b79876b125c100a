"""Findings of the family loop."""
