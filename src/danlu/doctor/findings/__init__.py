"""Findings: one file per finding, FAMILY/NAME.py for the code FAMILY.NAME, with its rule, wording and chart."""
