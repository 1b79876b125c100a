"""Findings of the family optim."""
