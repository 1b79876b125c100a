"""Region proposals from pixels, without learning, for R-CNN and Fast R-CNN."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.message import message
from danlu.refuse import one_of, refusal

Search = Callable[[np.ndarray], np.ndarray]  # image uint8 (H, W, 3) -> boxes (P, 4), xyxy
MIN_SIDE = 6  # pixels; smaller regions are texture
MAX_CACHED_IMAGES = 1 << 15  # images whose regions are cached
LEVELS = (3, 5, 8)  # values per channel after quantising colours


def selective_search(image: np.ndarray) -> np.ndarray:
    """Selective search: merge similar neighbouring areas until one is left; every intermediate area is a region.

    Uijlings et al. 2013, in the fast form of opencv-contrib. image: uint8 (H, W, 3). Returns boxes (P, 4), xyxy.
    """
    import cv2

    search: Any = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))  # OpenCV's images are BGR
    search.switchToSelectiveSearchFast()
    found = search.process().astype(np.float32).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found


def colour_areas(image: np.ndarray) -> np.ndarray:
    """Bounding boxes of connected areas of one colour, for several quantisations; a simple substitute for the above."""
    from scipy.ndimage import find_objects, gaussian_filter, label

    smooth = gaussian_filter(image.astype(np.float32), (1, 1, 0))
    found: list[tuple[int, int, int, int]] = []
    for levels in LEVELS:
        for shift in (0.0, 0.5):  # a colour at the edge of a level is inside one after the shift
            steps = (smooth / 256 * levels + shift).astype(np.int64)
            codes = steps @ np.array([(levels + 1) ** 2, levels + 1, 1])
            for code in np.unique(codes):
                labelled: Any = label(codes == code)
                areas: Any = find_objects(labelled[0])
                found += [(x.start, y.start, x.stop, y.stop) for y, x in areas]
    return np.array(found, dtype=np.float32).reshape(-1, 4)


SEARCHES: dict[str, Search] = {"selective": selective_search, "colours": colour_areas}


class Proposer:
    """Find at most `count` regions in each normalised image, one thread per core; regions are cached by image.

    search: "selective", "colours", or "auto": selective search if opencv-contrib is installed. Raises Refusal for
    another name, and for "selective" without opencv-contrib.
    """

    def __init__(self, search: str, count: int) -> None:
        one_of(
            "search",
            search,
            ("auto", *SEARCHES),
            message("detection.wanted.auto_selective_colours", "auto, selective or colours"),
        )
        if search == "selective" and not _has_selective():
            raise refusal(
                "search",
                message("detection.wanted.colours_opencv_extra_modules", "colours, or OpenCV with its extra modules"),
                search,
                do=message("detection.do.install_opencv_contrib_python", "install opencv-contrib-python"),
            )
        if search == "auto":
            search = "selective" if _has_selective() else "colours"
        self.search, self.count = SEARCHES[search], count
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> boxes, float32 (N, count, 4), padded with zeros."""
        boxes = torch.zeros(len(images), self.count, 4)
        for row, found in zip(boxes, self._regions(_pixels(images))):
            row[: len(found)] = found
        return boxes.to(images.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Proposer:
        """Copies of the network, such as its moving average, share the cache."""
        return self

    def _regions(self, pixels: np.ndarray) -> list[Tensor]:
        keys = [hashlib.blake2b(one, digest_size=16).digest() for one in pixels]
        unknown = {key: image for key, image in zip(keys, pixels) if key not in self._known}
        if unknown:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                found = pool.map(lambda one: self._chosen(self.search(one), one.shape[:2]), unknown.values())
                self._known |= {key: torch.from_numpy(boxes) for key, boxes in zip(unknown, found)}
        regions = [self._known[key] for key in keys]
        while len(self._known) > MAX_CACHED_IMAGES:
            self._known.popitem(last=False)
        return regions

    def _chosen(self, found: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """Drop duplicates and tiny regions; sample reproducibly when there are too many (OpenCV's order varies)."""
        whole = np.array([[0, 0, size[1], size[0]]], dtype=np.float32)
        found = np.unique(np.concatenate([found, whole]), axis=0)
        found = found[(found[:, 2:] - found[:, :2]).min(1) >= MIN_SIDE]
        return found[np.random.default_rng(0).permutation(len(found))[: self.count]]


def _has_selective() -> bool:
    try:
        import cv2
    except ImportError:
        return False
    return hasattr(cv2, "ximgproc")


def _pixels(images: Tensor) -> np.ndarray:
    """uint8 (N, H, W, 3): each image scaled from its darkest to its brightest value, as its range is unknown."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    brightness = (images - low) / (high - low).clamp(min=1e-6)
    shown = brightness.mul(255).round().to(torch.uint8).movedim(1, -1)
    shown = shown if shown.shape[-1] == 3 else shown[..., :1].expand(*shown.shape[:3], 3)
    return shown.contiguous().cpu().numpy()
