"""6D poses of objects, with meshes and cameras."""
