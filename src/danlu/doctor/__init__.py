"""The doctor: watches any PyTorch training and says what is wrong, why, and what cures it."""
