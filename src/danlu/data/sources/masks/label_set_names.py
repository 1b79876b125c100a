"""Class names and colours of published sets of label masks, which their files do not contain."""

from __future__ import annotations

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def _voc_colour(number: int) -> int:
    """Colour of a class in Pascal VOC as R << 16 | G << 8 | B: the bits of its number, three at a time."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (number & 1) << place
        green |= (number >> 1 & 1) << place
        blue |= (number >> 2 & 1) << place
        number >>= 3
    return red << 16 | green << 8 | blue


VOC_COLOURS = tuple(_voc_colour(k) for k in range(len(VOC)))

CITYSCAPES_TRAIN = (  # by train id
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES = dict(zip(_IDS, CITYSCAPES_TRAIN))  # by label id; the other ids are not evaluated
