"""Tests of the behaviour of a model on a few samples, used by instruments/behaviour.py."""
