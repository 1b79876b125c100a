"""Callbacks for trainers of other libraries. Each file needs its library; danlu itself needs none of them."""
