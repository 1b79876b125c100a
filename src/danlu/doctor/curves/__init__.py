"""Curves of trainings that other tools logged: read them, and judge the findings that curves alone can show."""
