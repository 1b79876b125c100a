"""`danlu export`: a run's network as one file for other programs, verified before it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from danlu.deployment.facts import facts_of
from danlu.deployment.file_formats import FILE_FORMATS, FileFormat, Int8
from danlu.deployment.graph import check_exportable, graph_of
from danlu.deployment.onnx_file import EXAMPLE_BATCH, need
from danlu.deployment.script import check_script, write_script
from danlu.deployment.verification import Verified, verify
from danlu.deployment.verification_images import ExportSamples, calibration_images, noise_images, samples_of
from danlu.inference.load import load, opened
from danlu.inference.loaded_run import LoadedRun
from danlu.message import Message, message, translated
from danlu.progress.stages import stage
from danlu.python_calls import python_names
from danlu.refuse import Refusal, blame, one_of, refusal
from danlu.run.folder import Run
from danlu.run.result import Result

FOLDER = "export"  # inside the run folder, for files without --out


@dataclass(frozen=True, eq=False, repr=False)
class Export(Result):
    """Result of `danlu.export`: a file with the same answers as the run's network."""

    file: str
    format: str
    run: str
    task: str
    model: str
    batch: int | str  # images per call: a number, or "any"
    bytes: int
    images_compared: int
    max_difference: float  # largest difference of the outputs on these images
    metric: str  # name of the task's main metric
    metric_before: float | None  # of the network; None where the data of the run is not there
    metric_after: float | None  # of the file
    metric_images: int
    split: str | None  # of these images
    ms_before: float  # milliseconds for one image in torch
    ms_after: float  # milliseconds for one image in the file's runtime
    script: str | None = None  # predict.py beside the file
    note: str | None = None


@python_names()
def export(
    run: str | Path | Run,
    *,
    format: str = "onnx",
    out: str | Path | None = None,
    batch: int | str = "any",
    int8: bool = False,
    weights: str | None = None,
    model: Any = None,
    transform: Any = None,
) -> Export:
    """Write the network of a run to one file: uint8 images in, probabilities out, verified on validation images.

    The file takes uint8 (N, S, S, C) on the canvas of the network; normalisation is inside, class names, sizes and the
    resize rule are in its metadata. predict.py beside an ONNX file needs numpy, Pillow and onnxruntime only.

    Args:
        run: A run or its folder.
        format: onnx, pt2 (torch.export) or openvino (NAME.xml, with its weights in NAME.bin).
        out: The file, by default RUN/export/model.onnx.
        batch: Images per call, "any" or a number.
        int8: onnx: convolutions and dense layers in 8 bits, with ranges from training images. pt2: the weights of dense
            layers in 8 bits, by torchao; for transformers and wide classifiers, because convolutions stay in floats.
        weights: "best" or "last".
        model, transform: Objects of your own, as for `load`.

    Returns:
        The file with what was compared: largest difference, metric and milliseconds per image, before and after.

    Raises:
        Refusal: A missing package, or a network that the format cannot hold.
        Failure: The file's answers differ from the network's on up to 32 validation images, or its metric does; nothing
            is written then.
    """
    one_of("--format", format, FILE_FORMATS, message("deployment.wanted.format", "onnx, pt2 or openvino"))
    form = FILE_FORMATS[format]
    need(form.packages, f"--format {format}", form.extra)
    eight_bits = _eight_bits(format) if int8 else Int8()
    size = _batch(batch)
    check_exportable(opened(Run.open(run.folder if isinstance(run, Run) else run)))  # before objects are asked for
    loaded = load(run, weights, model=model, transform=transform)
    loaded.need_outputs("export")
    file = _target(Path(out) if out is not None else loaded.folder / FOLDER / f"model{form.suffix}", form)
    graph = graph_of(loaded)
    check_script(file, loaded.signature)
    found = samples_of(loaded)
    samples = found if isinstance(found, ExportSamples) else None
    if int8 and samples is None:
        raise _no_samples(found)
    source, note = eight_bits.graph(graph) if eight_bits.graph else (graph, None)
    facts = facts_of(loaded) | {"batch": size or "any", "images_per_call": size or 1}
    parts = _PartialFiles(file, form)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with stage(translated("stage.exporting", "writing the network as {format}", format=format)):
            example = torch.from_numpy(noise_images(loaded, size or EXAMPLE_BATCH))
            form.write(source, example, parts.whole, facts, size is None)
        if samples is not None:
            _quantise(parts, eight_bits, samples, size)
        with stage(translated("stage.verifying", "comparing the file with the network")):
            answer = form.read(parts.whole)
            verified = verify(loaded, graph, answer, samples, batch=size, exact=form.exact, int8=int8)
        written = parts.keep()
        script = write_script(file, loaded.signature) if form.script else None
    except OSError as error:
        raise blame(error, f"--out {file}") from None
    finally:
        parts.remove()
    name = f"{format} int8" if int8 else format
    return _result(loaded, name, file, script, size, written, verified, note if samples else _no_data(str(found)))


def _eight_bits(format: str) -> Int8:
    """Return the way in which a format is quantised. Raises Refusal for one that is not, or a missing package."""
    found = FILE_FORMATS[format].int8
    if found is None:
        raise refusal("--int8", message("deployment.wanted.int8_formats", "omitted but for onnx and pt2"), format)
    need(found.packages, "--int8", found.extra)
    return found


def _no_samples(reason: object) -> Refusal:
    """Error for int8 without the data of the run."""
    return Refusal(
        message(
            "deployment.refuse.int8_needs_data_run",
            "--int8 needs the data of the run, by which its file is verified, but {found}",
            found=reason,
        ),
        "--int8",
    )


def _quantise(parts: _PartialFiles, eight_bits: Int8, samples: ExportSamples, size: int | None) -> None:
    """Replace the file by its quantised form, where the format quantises files (others quantise the graph)."""
    if eight_bits.file is None:
        return
    parts.whole.replace(parts.plain)
    with stage(translated("stage.quantising", "choosing ranges for 8 bits")):
        eight_bits.file(parts.plain, parts.whole, calibration_images(samples), size)


def _no_data(reason: str) -> Message:
    """The note of a file that was verified without data."""
    text = "the data of the run cannot be read, so that random images were compared and no metric: {reason}"
    return message("deployment.no_data", text, reason=reason)


class _PartialFiles:
    """Files of an export that is not verified yet, beside the place of the file.

    whole: what becomes the file. plain: the network in floats, from which one of 8 bits is made. second: the file of
    the weights, of formats that have one.
    """

    def __init__(self, file: Path, form: FileFormat) -> None:
        # The names end like the file: OpenVINO takes no others.
        self.file = file
        self.whole, self.plain = (file.with_name(f".{start}.{file.name}") for start in ("part", "float.part"))
        self.second = self.whole.with_suffix(form.second_suffix) if form.second_suffix else None

    def keep(self) -> int:
        """Move the files to their place; return the number of bytes."""
        written = self.whole.stat().st_size
        if self.second is not None:
            written += self.second.stat().st_size
            self.second.replace(self.file.with_suffix(self.second.suffix))
        self.whole.replace(self.file)
        return written

    def remove(self) -> None:
        """Delete what was not kept."""
        for path in (self.whole, self.plain, *([self.second] if self.second else [])):
            path.unlink(missing_ok=True)


def _target(file: Path, form: FileFormat) -> Path:
    """The file to write. Raises Refusal for another ending, or a folder."""
    if file.suffix != form.suffix:
        raise refusal(
            "--out",
            message("deployment.wanted.file_ends", "a file that ends in {suffixes}", suffixes=form.suffix),
            str(file),
        )
    if file.is_dir():
        raise refusal(
            "--out",
            message("deployment.wanted.file", "a file"),
            message("deployment.got.folder", "{file}, a folder", file=file),
        )
    return file


def _batch(batch: int | str) -> int | None:
    """Images per call; None for any."""
    if batch == "any":
        return None
    if isinstance(batch, bool) or not str(batch).isdecimal() or not 1 <= int(batch) <= 4096:
        raise refusal(
            "--batch", message("deployment.wanted.any_integer_4096", "any or an integer from 1 to 4096"), batch
        )
    return int(batch)


def _result(
    run: LoadedRun,
    format: str,
    file: Path,
    script: Path | None,
    batch: int | None,
    written: int,
    verified: Verified,
    note: Message | None,
) -> Export:
    return Export(
        file=str(file),
        format=format,
        run=run.name,
        task=run.task,
        model=run.signature.model,
        batch=batch or "any",
        bytes=written,
        images_compared=verified.compared,
        max_difference=verified.max_difference,
        metric=verified.metric,
        metric_before=verified.metric_before,
        metric_after=verified.metric_after,
        metric_images=verified.images,
        split=verified.split,
        ms_before=round(verified.ms_before, 3),
        ms_after=round(verified.ms_after, 3),
        script=str(script) if script else None,
        note=note,
    )
