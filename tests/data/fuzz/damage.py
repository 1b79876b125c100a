"""Changes to a written data set: some must not matter, others must be noticed."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from truth import Object, Plan, Sample

TEXTS = (".txt", ".json", ".jsonl", ".xml", ".csv", ".yaml", ".yml", ".data", ".names")
BESIDE = {  # files that lie about in data sets
    "README.md": "# Data\n\nimages and labels\n", "readme.txt": "Collected in 2021.\nSee the paper.\n",
    "README.roboflow.txt": "\nset - v1\n====\n\nProvided by a Roboflow user\nLicense: CC BY 4.0\n",
    "LICENSE": "MIT\n", ".DS_Store": "\0\0\0\1Bud1", "Thumbs.db": "junk", "desktop.ini": "[.ShellClassInfo]\n",
    "requirements.txt": "numpy==1.26\npillow\n", "labels.cache": "\x80\x04junk", "package.json": '{"name": "set"}\n',
    "config.yaml": "lr: 0.1\nepochs: 3\n", "info.json": '{"description": "a set", "year": 2020}\n', "train.log": "epoch 1 0.3\n",
    "stats.csv": "width,height\n40,30\n41,30\n39,28\n", "index.html": "<html></html>", "convert.py": "import os\n",
    "metadata.json": '{"version": 3, "classes": ["a", "b"]}\n', "notes.txt": "1 2 3\n", "licenses.csv": "name,url\na,b\nc,d\n",
    "best.pt": "\x80\x02junk", "Makefile": "all:\n\techo\n", "annotations.xsd": '<?xml version="1.0"?>\n<xs:schema/>\n',
}  # fmt: skip
WRAPPERS = ("dataset", "my data (1)", "archive", "v2i.yolov8", "data", "export-2024", "set", "Images and labels")


# --- before writing ------------------------------------------------------------------------------------------------


def spoil_one(plan: Plan, corners: bool) -> Sample | None:
    """Add an object that cannot be used to an image that has others; that image.

    corners: the format gives corners in any order, so that none are reversed.
    """
    full = [sample for sample in plan.samples if sample.objects and sample.split in ("", "train")]
    if not full:
        return None
    sample = plan.rng.choice(full)
    width = sample.size[0]
    fault = plan.rng.choice(("outside", "nan", "empty", "no label") + (() if corners else ("reversed",)))
    box = {"reversed": (20.0, 18.0, 9.0, 7.0), "outside": (width + 20.0, 4.0, width + 30.0, 9.0), "empty": (5.0, 5.0, 5.0, 5.0),
           "nan": (float("nan"), 4.0, 9.0, 9.0), "no label": (3.0, 3.0, 13.0, 14.0)}[fault]  # fmt: skip
    label = "" if fault == "no label" else sample.objects[0].label
    place = plan.rng.randint(0, len(sample.objects))
    sample.objects.insert(place, Object(label, box, None, fault))
    plan.notes.append(f"object {fault} in {sample.stem}")
    return sample


def wholesome(sample: Sample) -> list[Object]:
    return [thing for thing in sample.objects if not thing.fault]


# --- that must not matter ------------------------------------------------------------------------------------------


def byte_order_mark(plan: Plan, root: Path) -> None:
    for file in texts(root):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


def windows_lines(plan: Plan, root: Path) -> None:
    for file in texts(root):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def other_files(plan: Plan, root: Path) -> None:
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    for name in plan.rng.sample(sorted(BESIDE), 4):
        place = plan.rng.choice((root, root, plan.rng.choice(folders)))
        if not (place / name).exists():
            (place / name).write_text(BESIDE[name], encoding="latin-1")
            plan.notes.append(f"{name} in {place.relative_to(root)}")


def mac_files(plan: Plan, root: Path) -> None:
    for file in [path for path in root.rglob("*") if path.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X        ")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX/._a.jpg").write_bytes(b"\0\5\x16\7Mac OS X        ")


def checkpoints_of_notebooks(plan: Plan, root: Path) -> None:
    sample = plan.rng.choice(plan.samples)
    place = (root / sample.path).parent / ".ipynb_checkpoints"
    place.mkdir(exist_ok=True)
    shutil.copy(root / sample.path, place / f"{sample.stem}-checkpoint{sample.suffix}")


def decomposed_names(plan: Plan, root: Path) -> None:
    """Names of images as a Mac writes them: the letter and its accent apart."""
    for sample in plan.samples:
        name = unicodedata.normalize("NFD", sample.name)
        move(sample, root, name)


def other_case_of_endings(plan: Plan, root: Path) -> None:
    for sample in plan.samples:
        move(sample, root, sample.stem + sample.suffix.swapcase())


def wrapped(plan: Plan, root: Path) -> None:
    """Everything one or two folders deeper."""
    names = plan.rng.sample(WRAPPERS, plan.rng.randint(1, 2))
    plan.notes.append("/".join(names))
    inside = root.with_name(root.name + "-inside")
    root.rename(inside)
    root.joinpath(*names[:-1]).mkdir(parents=True)
    inside.rename(root.joinpath(*names))
    for sample in plan.samples:
        sample.path = Path(*names) / sample.path


def empty_folder(plan: Plan, root: Path) -> None:
    (root / plan.rng.choice(("runs", "empty", "output"))).mkdir()


def preview(plan: Plan, root: Path) -> None:
    """An image at the top that is no sample."""
    name = plan.rng.choice(("preview.png", "cover.jpg", "sample_batch.jpg"))
    Image.new("RGB", (90, 40), (10, 200, 30)).save(root / name)


def thumbnails(plan: Plan, root: Path) -> None:
    """Small copies of all images under their own names."""
    folder = plan.rng.choice(("thumbnails", "previews", "small"))
    for sample in plan.samples:
        place = root / folder / sample.name
        place.parent.mkdir(exist_ok=True)
        with Image.open(root / sample.path) as image:
            image.resize((12, 9)).convert("RGB").save(place, "PNG" if sample.suffix.lower() == ".png" else "JPEG")


# --- that must be noticed: each returns the samples that are lost ----------------------------------------------------


def missing_image(plan: Plan, root: Path) -> list[Sample]:
    # An image without objects may be in no annotation file, so that nothing tells of its loss.
    sample = plan.rng.choice([sample for sample in plan.samples if sample.objects] or plan.samples)
    (root / sample.path).unlink()
    return [sample]


def cut_image(plan: Plan, root: Path) -> list[Sample]:
    sample = plan.rng.choice(plan.samples)
    data = sample.content[: len(sample.content) * 2 // 3]
    (root / sample.path).write_bytes(plan.rng.choice((data, b"", b"<html>404</html>")))
    return [sample]


def cut_annotation(plan: Plan, root: Path) -> list[Sample]:
    """A json or xml file that ends half-way; its images may be lost."""
    files = [file for file in texts(root) if file.suffix in (".json", ".xml") and file.stat().st_size > 60]
    if not files:
        return []
    file = plan.rng.choice(files)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * plan.rng.randint(20, 90) // 100])
    plan.notes.append(f"{file.relative_to(root)} is cut")
    return [sample for sample in plan.samples if unicodedata.normalize("NFC", file.stem) == sample.stem] or plan.samples


def texts(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in TEXTS and not path.name.startswith("."))


def move(sample: Sample, root: Path, name: str) -> None:
    target = sample.path.with_name(name)
    (root / sample.path).rename(root / target)
    sample.path = target


Harmless = Callable[[Plan, Path], None]
HARMLESS: tuple[Harmless, ...] = (
    byte_order_mark, windows_lines, other_files, mac_files, checkpoints_of_notebooks, decomposed_names,
    other_case_of_endings, wrapped, empty_folder, preview, thumbnails,
)  # fmt: skip
HARMFUL: tuple[Callable[[Plan, Path], list[Sample]], ...] = (missing_image, cut_image, cut_annotation)
