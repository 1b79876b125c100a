"""Images of single samples for the pages, as data URIs."""

from __future__ import annotations

from danlu.data.augmentation.grids import without_border
from danlu.data.clips import filmstrip
from danlu.preparation.prepared import Prepared
from danlu.report.images import to_data_uri, visible

FILMSTRIP_WIDTH = 264  # pixels, of the frames of a clip in the report
IMAGE_SIDE = 96  # pixels, of images in the report
EXAMPLE_SIDE = 384  # max pixels, of images with ground truth and detections


def image_uri(prepared: Prepared, index: int, side: int | None = None) -> str:
    """Sample `index` as a data URI, "" for table rows. The letterbox padding of detection images is cropped.

    side: max pixels of a side; by default IMAGE_SIDE, of images with objects or label maps EXAMPLE_SIDE.
    """
    if prepared.images is None:
        return ""
    image = prepared.images.some([index])[0]
    if prepared.images.frames is not None:
        return to_data_uri(filmstrip(image, prepared.images.frames), FILMSTRIP_WIDTH)
    image = visible(without_border(image) if prepared.images.marked else image)
    placed = prepared.objects or prepared.maps
    if placed is None:
        return to_data_uri(image, side or IMAGE_SIDE)
    placement = placed.placements[index]
    (left, top), (x, y) = (round(v) for v in placement.offset), placement.scale
    height, width = round(placement.original[0] * y), round(placement.original[1] * x)
    cropped = image[:, top : top + height, left : left + width]
    return to_data_uri(cropped, min(side or EXAMPLE_SIDE, max(cropped.shape[1:])))
