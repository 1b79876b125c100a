"""Curvature of a training loss: pure mathematics on torch. `summary.curvature` is what most callers want."""
