"""Facts about label maps that are recorded for the doctor before a training."""

from __future__ import annotations

from danlu.data.label_maps import MapSet
from danlu.doctor.ledger import Ledger
from danlu.preparation.prepared import Prepared

MAX_COUNTED_MAPS = 500  # label maps of the training set, evenly spaced, whose pixels are counted


def record_pixel_facts(ledger: Ledger, prepared: Prepared) -> None:
    """Add pixel.count of each class and pixel.ignored to the ledger; nothing for other tasks."""
    if prepared.maps is None:
        return
    train, classes = prepared.split.train, prepared.dataset.classes
    counted = train[:: -(-len(train) // MAX_COUNTED_MAPS)]
    counts = prepared.maps.pixel_counts(counted, len(classes)).tolist()
    for name, count in zip(classes, counts):
        ledger.add("pixel.count", count, name, 0)
    ledger.add("pixel.ignored", max(counts[-1] - _padding(prepared.maps, counted.tolist()), 0), step=0)


def _padding(maps: MapSet, index: list[int]) -> int:
    """Number of canvas pixels outside the images; they are ignored as well but lose nothing."""
    padding = 0
    for placement in (maps.placements[i] for i in index):
        height, width = (round(side * scale) for side, scale in zip(placement.original, placement.scale[::-1]))
        canvas_height, canvas_width = placement.size
        padding += canvas_height * canvas_width - min(height, canvas_height) * min(width, canvas_width)
    return padding
