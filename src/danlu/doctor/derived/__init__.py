"""Quantities derived from the ledger that several findings and charts use."""
