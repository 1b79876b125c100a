"""Readers of logs: one file per format, with its `READER`."""
