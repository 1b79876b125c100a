"""Curves of trainings that other tools logged: read them, and judge what curves alone show."""
