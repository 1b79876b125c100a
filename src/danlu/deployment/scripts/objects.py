"""Find objects in images with model.onnx (written by danlu export): python predict.py IMAGE|FOLDER ..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SESSION = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
FACTS = json.loads(SESSION.get_modelmeta().custom_metadata_map["danlu"])  # task, classes, canvas, ...


def place(path):
    """The image on the square canvas, uint8 (1, S, S, C), its size there, its offset and its own size, each (x, y)."""
    side, mode = FACTS["canvas"], "L" if FACTS["channels"] == 1 else "RGB"
    with Image.open(path) as file:
        size = file.size[::-1] if file.format != "TIFF" and file.getexif().get(0x0112, 1) >= 5 else file.size
        width, height = (max(1, round(n * side / max(size))) if FACTS["fit"] == "letterbox" else side for n in size)
        least = np.ceil(max(width / size[0], height / size[1]) * min(size)) / min(size)
        grey = (mode, file.mode) == ("L", "RGB")
        file.draft("L" if grey else None, [int(np.ceil(least * n)) for n in file.size])  # type: ignore[arg-type]
        image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = (image.convert("RGB") if image.mode == "P" else image).convert(mode)
    right, low = (min(n / max(1, round(n / m)), m) for n, m in zip(size, image.size))
    offset, canvas = ((side - width) // 2, (side - height) // 2), Image.new(mode, (side, side), (114,) * len(mode))
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR, (0, 0, right, low), 2.0), offset)
    return np.asarray(canvas).reshape(1, side, side, -1), np.array([width, height]), np.array(offset), np.array(size)


def predict(path):
    """The objects in an image file, as `danlu predict --json` gives them."""
    try:
        pixels, inside, offset, size = place(path)
    except Exception as error:  # an unreadable file does not stop the others
        return {"path": str(path), "error": str(error)}
    found = SESSION.run(None, {"images": np.repeat(pixels, FACTS["images_per_call"], 0)})
    boxes, scores, labels = (np.asarray(one)[0] for one in found)
    boxes, kept = boxes.astype(np.float64), []
    order, area = np.argsort(-scores, kind="stable"), np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    while len(order) and scores[order[0]] > FACTS["score"] and len(kept) < FACTS["max_detections"]:  # suppression
        kept, best, order = [*kept, order[0]], order[0], order[1:]
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod((high - low).clip(0), 1)
        apart = common <= FACTS["nms_iou"] * (area[best] + area[order] - common)
        order = order[apart | (labels[order] != labels[best])]
    corners = ((boxes[kept].reshape(-1, 2, 2) - offset) * size / inside).clip(0, size).reshape(-1, 4)
    rows = zip(labels[kept].tolist(), scores[kept].astype(np.float64).round(6).tolist(), corners.round(2).tolist())
    return {"path": str(path), "objects": [{"class": FACTS["classes"][k], "score": s, "box": b} for k, s, b in rows]}


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:] if word != "--json"] or sys.exit(__doc__)
    files = [file for path in given for file in (sorted(path.rglob("*.*")) if path.is_dir() else [path])]
    found = [predict(file) for file in files if file in given or file.suffix.lower() in Image.registered_extensions()]
    print(json.dumps({"predictions": found}, ensure_ascii=False))
    sys.exit(all("error" in row for row in found))
