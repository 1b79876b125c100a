"""Stages of long work, and their display."""
