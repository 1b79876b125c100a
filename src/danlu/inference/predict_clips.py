"""Predictions of a network of clips: folders of frames, videos, npz files and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import Config
from danlu.data.clips import as_clips, filmstrip, frame_numbers
from danlu.data.files.image_file import UNREADABLE, reason_of
from danlu.data.files.survey import survey
from danlu.data.files.unpacking import check_npz
from danlu.data.files.video_file import VIDEOS, is_video
from danlu.data.images import read_image
from danlu.data.sources.arrays.clips import in_order
from danlu.data.sources.arrays.npz import INPUTS
from danlu.inference.input_images import existing_path, output_folder, output_name
from danlu.inference.predict_images import image_outputs, to_prediction
from danlu.inference.prediction import Prediction
from danlu.inference.trained_network import TrainedNetwork
from danlu.inference.video import frames_of_clip
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.report.images import annotate
from danlu.run.signature import Signature

Clip = tuple[str, Sequence[Any] | np.ndarray | Path]  # its name, and its frames: files, arrays, or a video


def predict_clips(
    trained: TrainedNetwork,
    device: torch.device,
    inputs: Iterable[Any],
    config: Config,
    *,
    top: int = 3,
    out: Path | None = None,
) -> list[Prediction]:
    """Predict every clip of `inputs`, in order.

    inputs: a folder of frames, a folder of such folders, a video, an npz or npy file, or arrays (T, H, W),
    (T, C, H, W), (T, H, W, C) or (N, T, C, H, W). Of each clip as many frames are taken as in the training, evenly
    spaced. out: folder for the frames with the prediction written below. Raises Refusal for anything else.
    """
    signature = trained.signature
    found = [(name, _read(name, frames, signature)) for name, frames in _clips(inputs, count())]
    outputs = image_outputs(trained.members_on(device), device, [pixels for _, pixels in found], config)
    predictions = [to_prediction(name, signature, output, top) for (name, _), output in zip(found, outputs)]
    if out is not None:
        _write(output_folder(out), [pixels for _, pixels in found], predictions, signature.frames or 1)
    return predictions


def _clips(inputs: Iterable[Any], numbers: Iterator[int]) -> Iterator[Clip]:
    for one in inputs:
        if isinstance(one, list | tuple):
            yield from _clips(one, numbers)
        elif hasattr(one, "__array__"):
            yield from ((f"array {next(numbers)}", clip) for clip in _of_array(np.asarray(one), "PATH"))
        elif not isinstance(one, str | Path):
            wanted = message("inference.wanted.clips", "a folder of frames, a video, an npz file or an array")
            raise refusal(
                "PATH", wanted, message("inference.got.object_of_type", "one of {name}", name=type(one).__name__)
            )
        elif existing_path(one).is_dir():
            yield from _of_folder(Path(one))
        elif is_video(Path(one)):
            yield str(one), Path(one)
        else:
            clips = _of_array(_stored(Path(one)), f"the array of {one}")
            yield from ((f"{one} row {number}", clip) for number, clip in enumerate(clips))


def _of_folder(path: Path) -> Iterator[Clip]:
    """The clips in a folder: itself where it holds frames, or those below it."""
    listed = survey(path)
    by_folder = {folder: files for folder in listed.by_folder for files in [_images(listed, folder)] if files}
    if not by_folder and (arrays := listed.by_suffix.get(".npy")):
        for file in arrays:
            yield from ((str(file.path), clip) for clip in _of_array(_stored(file.path), f"the array of {file.path}"))
        return
    if not by_folder and (videos := sorted(listed.of(*VIDEOS), key=lambda file: file.parts)):
        yield from ((str(file.path), file.path) for file in videos)
        return
    if not by_folder:
        raise refusal("PATH", message("inference.wanted.folder_frames", "a folder with the frames of clips"), str(path))
    for folder in sorted(by_folder):
        name = str(path.joinpath(*folder))
        frames = in_order(by_folder[folder])
        if frames is None:
            wanted = message(
                "inference.wanted.numbered_frames", "a folder of numbered frames (0001.jpg, 0002.jpg, ...)"
            )
            raise refusal(
                f"PATH {name}",
                wanted,
                message("inference.got.folder_of_frames", "{name} and others", name=by_folder[folder][0].name),
            )
        yield name, frames


def _images(listed: Any, folder: tuple[str, ...]) -> list[Any]:
    images = set(listed.images)
    return [file for file in listed.by_folder[folder] if file in images]


def _stored(path: Path) -> np.ndarray:
    """The array of an npy file, or the inputs of an npz file."""
    try:
        if path.suffix.lower() == ".npz":
            check_npz(path)
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            name = next((one for one in content.files if one.lower() in INPUTS), content.files[0])
            return content[name]
    except (*UNREADABLE, AttributeError) as error:
        if isinstance(error, Refusal):
            raise
        wanted = message("inference.wanted.clips", "a folder of frames, a video, an npz file or an array")
        raise refusal("PATH", wanted, str(path)) from None


def _of_array(array: np.ndarray, where: str) -> list[np.ndarray]:
    """Clips (T, C, H, W) of an array of one or of several."""
    if array.dtype.kind not in "iufb":
        raise refusal(
            where,
            message("inference.wanted.numbers", "numbers"),
            message("inference.got.type", "type {dtype}", dtype=array.dtype),
        )
    if array.ndim == 3:
        array = array[:, None]
    clips = torch.from_numpy(np.ascontiguousarray(array if array.ndim == 5 else array[None]))
    return list(as_clips(clips, where).numpy())


def _read(name: str, frames: Sequence[Any] | np.ndarray | Path, signature: Signature) -> np.ndarray:
    """The frames of a clip that the network takes, uint8 (T * C, S, S)."""
    count = signature.frames or 1
    if isinstance(frames, Path):
        taken = frames_of_clip(frames, count)
    elif len(frames):
        taken = [frames[i] for i in frame_numbers(len(frames), count)]
    else:
        raise refusal(f"PATH {name}", message("inference.wanted.clip_frames", "a clip with frames"), NOTHING)
    try:
        pixels = [read_image(one, signature.canvas or 1, signature.colour, window=signature.window) for one in taken]
    except UNREADABLE as error:
        raise Refusal(
            message(
                "inference.refuse.clip_unreadable",
                "PATH {name} has a frame that cannot be read: {reason}",
                name=name,
                reason=reason_of(error),
            )
        ) from None
    return np.concatenate(pixels)


def _write(folder: Path, clips: Sequence[np.ndarray], predictions: Sequence[Prediction], frames: int) -> None:
    """Write the frames of each clip with its prediction below."""
    taken: set[str] = set()
    for pixels, one in zip(clips, predictions):
        text = f"{one.label} {one.confidence:.0%}" if one.label is not None else f"{one.value}"
        annotate(filmstrip(torch.from_numpy(pixels), frames), text).save(folder / output_name(one.path, taken))
