"""Predict images with model.onnx (written by danlu export): python predict.py [--json] IMAGE|FOLDER ..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SESSION = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
FACTS = json.loads(SESSION.get_modelmeta().custom_metadata_map["danlu"])  # task, classes, canvas, ...


def decode(path, side):
    """Upright 8-bit image, grey or RGB, transparent pixels over white; a JPEG at a reduced scale of at least `side`."""
    with Image.open(path) as file:
        reduced = [int(np.ceil(side / min(file.size) * n)) for n in file.size]
        file.draft("L" if FACTS["channels"] == 1 and file.mode == "RGB" else None, reduced)  # type: ignore[arg-type]
        image = ImageOps.exif_transpose(file)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # more than 8 bits per channel
        low, high = FACTS["window"] or (0, 65535 if image.mode != "F" else 1 if np.asarray(image).max() <= 1 else 255)
        image = Image.fromarray(
            np.uint8(np.round((np.asarray(image, float) - low).clip(0, high - low) * (255 / (high - low))))
        )
    elif image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return (image.convert("RGB") if image.mode == "P" else image).convert("L" if FACTS["channels"] == 1 else "RGB")


def predict(path):
    """The prediction for an image file, as `danlu predict --json` gives it."""
    side, row = FACTS["canvas"], {"path": str(path)}
    try:
        image = decode(path, side)
    except Exception as error:  # an unreadable file does not stop the others
        return row | {"error": str(error)}
    left, top, short = *((n - min(image.size)) // 2 for n in image.size), min(image.size)
    square = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BILINEAR)
    batch = np.repeat(np.asarray(square).reshape(1, side, side, -1), FACTS["images_per_call"], 0)
    answers = np.asarray(SESSION.run(None, {"images": batch})[0])[0].tolist()
    if FACTS["task"] == "regress":
        return row | ({"values": dict(zip(FACTS["targets"], answers))} if answers[1:] else {"value": answers[0]})
    ranked = sorted(zip(FACTS["classes"], (round(p, 6) for p in answers)), key=lambda one: -one[1])
    if FACTS["task"] == "multilabel":
        needed = dict(zip(FACTS["classes"], FACTS["thresholds"]))
        return row | {"top": ranked[:3], "labels": [one for one in ranked if one[1] >= needed[one[0]]]}
    return row | {"class": ranked[0][0], "confidence": ranked[0][1], "top": ranked[:3]}


if __name__ == "__main__":
    given, as_json = [Path(w) for w in sys.argv[1:] if w != "--json"] or sys.exit(__doc__), "--json" in sys.argv
    files = [file for path in given for file in (sorted(path.rglob("*.*")) if path.is_dir() else [path])]
    found = [predict(file) for file in files if file in given or file.suffix.lower() in Image.registered_extensions()]
    for row in [] if as_json else found:
        ranked = ", ".join(f"{name} {p:.3f}" for name, p in row.get("labels", row.get("top", [])))
        print(row["path"], ranked or row.get("value", row.get("values", row.get("error", "no label"))))
    if as_json:
        print(json.dumps({"predictions": found}, ensure_ascii=False))
    sys.exit(all("error" in row for row in found))
