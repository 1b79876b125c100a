"""Segment images with model.onnx (written by danlu export): python predict.py [--out=DIR] IMAGE|FOLDER ..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SESSION = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
FACTS = json.loads(SESSION.get_modelmeta().custom_metadata_map["danlu"])  # task, classes, canvas, ...


def place(path):
    """The image on the square canvas, uint8 (1, S, S, C), its place in the output of the network, and its own size."""
    side, mode = FACTS["canvas"], "L" if FACTS["channels"] == 1 else "RGB"
    with Image.open(path) as file:
        size = file.size[::-1] if file.format != "TIFF" and file.getexif().get(0x0112, 1) >= 5 else file.size
        width, height = (max(1, round(n * side / max(size))) if FACTS["fit"] == "letterbox" else side for n in size)
        least = np.ceil(max(width / size[0], height / size[1]) * min(size)) / min(size)
        small, grey = (int(np.ceil(least * n)) for n in file.size), (mode, file.mode) == ("L", "RGB")
        file.draft("L" if grey else None, tuple(small))  # type: ignore[arg-type]
        image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = (image.convert("RGB") if image.mode == "P" else image).convert(mode)
    right, low = (min(n / max(1, round(n / m)), m) for n, m in zip(size, image.size))
    left, top, canvas = (side - width) // 2, (side - height) // 2, Image.new(mode, (side, side), (114,) * len(mode))
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR, (0, 0, right, low), 2.0), (left, top))
    return np.asarray(canvas).reshape(1, side, side, -1), np.s_[0, :, top : top + height, left : left + width], size


def grown(values, count):
    """Resize the last axis to `count` values, linearly between the centres of its pixels."""
    at, last = ((np.arange(count) + 0.5) * (values.shape[-1] / count) - 0.5).clip(0, None), values.shape[-1] - 1
    low, part = at.astype(int).clip(0, last), (at % 1).astype(np.float32)
    return values[..., low] * (1 - part) + values[..., (low + 1).clip(0, last)] * part


def segment(path, out):
    """Return the fraction of pixels of each class in an image file; write its label map, a grey PNG, to `out`."""
    try:
        pixels, inside, (width, height) = place(path)
    except Exception as error:  # an unreadable file does not stop the others
        return {"path": str(path), "error": str(error)}
    found = np.asarray(SESSION.run(None, {"images": np.repeat(pixels, FACTS["images_per_call"], 0)})[0])[inside]
    labels = grown(grown(found.swapaxes(1, 2), height).swapaxes(1, 2), width).argmax(0).astype(np.uint8)
    for folder in out:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(folder / f"{path.stem}.png")
    parts = ((name, round(float((labels == k).mean()), 6)) for k, name in enumerate(FACTS["classes"]))
    return {"path": str(path), "areas": {name: part for name, part in sorted(parts, key=lambda one: -one[1]) if part}}


if __name__ == "__main__":
    given, out = [Path(w) for w in sys.argv[1:] if w[:2] != "--"], [Path(w[6:]) for w in sys.argv if w[:6] == "--out="]
    files = [f for path in given or sys.exit(__doc__) for f in (sorted(path.rglob("*.*")) if path.is_dir() else [path])]
    rows = [segment(f, out) for f in files if f in given or f.suffix.lower() in Image.registered_extensions()]
    sys.exit(print(json.dumps({"predictions": rows}, ensure_ascii=False)) or all("error" in row for row in rows))
