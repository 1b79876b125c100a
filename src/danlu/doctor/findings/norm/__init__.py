"""Findings of the family norm."""
