"""A trained run as a web service."""
