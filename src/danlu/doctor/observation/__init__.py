"""Observation of a training by public hooks of PyTorch: calls, optimisers, tensors, and the model under observation."""
