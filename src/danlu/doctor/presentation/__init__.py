"""Findings as text and as HTML, with the charts of their evidence."""
