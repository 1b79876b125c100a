"""Geometry of rigid objects in images: rotations, cameras, meshes, symmetries, errors, losses and rendering.

Lengths are in metres and angles in radians unless a name says otherwise. A pose maps a point x of the model to
R x + t in the camera frame (x right, y down, z forward). Pixel coordinates are continuous: the first pixel covers
[0, 1], so the principal point of data that count pixel centres as integers (BOP) is moved by half a pixel.
"""
