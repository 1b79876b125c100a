"""Trained networks in files for other programs: export, and one file to share a run."""
