"""Findings of the family model."""
