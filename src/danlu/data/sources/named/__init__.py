"""Datasets by name: generated from a seed, or those of scikit-learn and torchvision."""
