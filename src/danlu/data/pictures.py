"""Alias of `data/images.py` under its former name and with its former function names, for scripts written before."""

from __future__ import annotations

from danlu.data.files.image_file import check_image as check_picture
from danlu.data.images import image_size as picture_size
from danlu.data.images import place_image as place_picture
from danlu.data.images import read_image as read_picture

__all__ = ["check_picture", "picture_size", "place_picture", "read_picture"]
