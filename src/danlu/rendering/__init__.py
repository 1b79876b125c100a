"""Training images of meshes: arranged, drawn, lit and put before a background, and written as BOP data."""
