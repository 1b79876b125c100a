"""Augmentation of batches on the device: images with their boxes, masks, label maps and poses."""
