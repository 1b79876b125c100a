"""Samples given as numbers: tables of features, arrays, and clips."""
