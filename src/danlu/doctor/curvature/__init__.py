"""Curvature of a training loss, in pure torch. The entry point is `summary.curvature`."""
