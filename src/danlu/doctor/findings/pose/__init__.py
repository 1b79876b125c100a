"""Findings of the family fit."""
