"""The doctor: watches any PyTorch training and says what is wrong, why, and how to fix it."""
