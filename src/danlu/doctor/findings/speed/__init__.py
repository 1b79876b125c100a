"""Findings of the family speed."""
