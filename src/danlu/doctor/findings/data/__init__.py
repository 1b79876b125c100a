"""Findings of the family data."""
