"""The doctor: watches any PyTorch training and reports what is wrong, why, and how to fix it."""
